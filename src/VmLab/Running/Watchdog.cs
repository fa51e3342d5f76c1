namespace VmLab.Running;

/// <summary>
/// Notices, in host time, that a quantum does not end: trouble of the host or of VmLab, never of the guest.
/// </summary>
/// <remarks>What it reports ends the lab as trouble of the infrastructure, which is never part of a result.</remarks>
sealed class Watchdog : IDisposable
{
    readonly Timer _timer;
    readonly Action _bark;
    long _quantum;
    long _seen = -1;

    public Watchdog(TimeSpan patience, Action bark)
    {
        _bark = bark;
        _timer = new Timer(_ => Look(), null, patience, patience);
    }

    /// <summary>A quantum begins.</summary>
    public void Begin() => Interlocked.Increment(ref _quantum);

    /// <summary>The quantum has ended.</summary>
    public void End() => Interlocked.Increment(ref _quantum);

    public void Dispose() => _timer.Dispose();

    // Odd while a quantum runs: seen twice, it has lasted a whole period at least.
    void Look()
    {
        long quantum = Interlocked.Read(ref _quantum);
        if ((quantum & 1) == 1 && quantum == _seen) _bark();
        _seen = quantum;
    }
}
