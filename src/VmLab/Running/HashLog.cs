using System.Globalization;

namespace VmLab.Running;

/// <summary>
/// Writes state hashes, a line a machine and checkpoint: <c>NAME TIME HASH</c>, time in nanoseconds of the machine's
/// clock.
/// </summary>
sealed class HashLog : IDisposable
{
    readonly StreamWriter _writer;
    readonly List<(ulong Time, int Machine, string Line)> _pending = [];

    /// <param name="appends">Goes on with a file that an earlier lab of the same run began.</param>
    /// <exception cref="LabException">The file cannot be written.</exception>
    public HashLog(string path, bool appends)
    {
        try
        {
            _writer = new StreamWriter(path, appends);
        }
        catch (Exception trouble) when (trouble is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"The state hashes cannot be written to {path}: {trouble.Message}", trouble);
        }
    }

    public void Add(int machine, string name, ulong machineTime, ulong hash) => _pending.Add(
        (machineTime, machine, string.Create(CultureInfo.InvariantCulture, $"{name} {machineTime} {hash:x16}")));

    /// <summary>Writes what was added since, in the order of (time, machine).</summary>
    public void Flush()
    {
        if (_pending.Count == 0) return;
        foreach (var (_, _, line) in _pending.OrderBy(entry => (entry.Time, entry.Machine))) _writer.WriteLine(line);
        _pending.Clear();
        _writer.Flush();
    }

    public void Dispose() => _writer.Dispose();
}
