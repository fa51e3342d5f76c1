namespace VmLab.Tests;

/// <summary>Keeps every host processor busy until it is disposed.</summary>
sealed class HostLoad : IDisposable
{
    readonly List<Thread> _threads = [];
    volatile bool _isOver;

    public HostLoad()
    {
        for (int i = 0; i < Environment.ProcessorCount; i++)
        {
            var thread = new Thread(() => { while (!_isOver) { } });
            thread.Start();
            _threads.Add(thread);
        }
    }

    public void Dispose()
    {
        _isOver = true;
        _threads.ForEach(thread => thread.Join());
    }
}
