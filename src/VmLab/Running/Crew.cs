namespace VmLab.Running;

/// <summary>The host threads that run a lab's machines side by side; the calling thread is one of them.</summary>
/// <remarks>Machines share nothing while they run, so neither the number of threads nor who runs what can show in a
/// result.</remarks>
sealed class Crew : IDisposable
{
    readonly SemaphoreSlim _work = new(0);
    readonly Thread[] _threads;
    volatile Round? _round;
    volatile bool _isDismissed;

    /// <param name="threads">1 and up, the caller's own included.</param>
    public Crew(int threads)
    {
        _threads = new Thread[threads - 1];
        for (int i = 0; i < _threads.Length; i++)
        {
            _threads[i] = new Thread(Serve) { IsBackground = true, Name = $"VmLab machines {i + 1}" };
            _threads[i].Start();
        }
    }

    /// <summary>Runs every machine to the lab time, and returns when the last one is there.</summary>
    public void Run(IReadOnlyList<PoweredMachine> machines, ulong labTime)
    {
        if (_threads.Length == 0 || machines.Count(machine => machine.IsHeavy) < 2)
        {
            foreach (PoweredMachine machine in machines) machine.RunUntil(labTime);
            return;
        }
        var round = new Round(machines, labTime);
        _round = round;
        _work.Release(Math.Min(_threads.Length, machines.Count - 1));
        round.Work();
        round.Done.Wait();
        _round = null;
    }

    public void Dispose()
    {
        _isDismissed = true;
        if (_threads.Length > 0) _work.Release(_threads.Length);
        foreach (Thread thread in _threads) thread.Join();
        _work.Dispose();
    }

    void Serve()
    {
        while (true)
        {
            _work.Wait();
            if (_isDismissed) return;
            _round?.Work();
        }
    }

    // A thread that wakes late finds its old round used up, never the next round half made.
    sealed class Round(IReadOnlyList<PoweredMachine> machines, ulong labTime)
    {
        int _taken;
        int _left = machines.Count;

        public ManualResetEventSlim Done { get; } = new();

        public void Work()
        {
            while (Interlocked.Increment(ref _taken) - 1 is var i && i < machines.Count)
            {
                machines[i].RunUntil(labTime);
                if (Interlocked.Decrement(ref _left) == 0) Done.Set();
            }
        }
    }
}
