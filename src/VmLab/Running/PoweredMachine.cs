using VmLab.Machines;

namespace VmLab.Running;

/// <summary>
/// One power-on of a machine: runs it to lab times, on whatever thread, and keeps what it sends until the quantum's
/// end.
/// </summary>
sealed class PoweredMachine : IDisposable
{
    /// <summary>The machine at one moment.</summary>
    /// <param name="StartedAt">Lab time, in nanoseconds, of machine time 0.</param>
    /// <param name="RetiredBefore">Counts up to the last quantum's end.</param>
    public sealed record Moment(MachineMoment Machine, ulong StartedAt, ulong RetiredBefore, bool IsHeavy);

    /// <summary>Counts of machine time between two lines of the hash log.</summary>
    public const ulong CheckpointInterval = 100_000_000;

    // What a machine retires in a quantum before it is worth another thread.
    const ulong HeavyCounts = 200_000;

    readonly IMachine _machine;
    readonly bool _keepsHashes;
    ulong _startedAt;
    ulong _retiredBefore;

    /// <param name="startedAt">Lab time of the power-on.</param>
    public PoweredMachine(IMachine machine, ulong startedAt, bool keepsHashes)
    {
        _machine = machine;
        _startedAt = startedAt;
        _keepsHashes = keepsHashes;
        machine.Connect(
            value => Arrivals.Add(new Arrival(Now, IsChannel: false, value)),
            value => Arrivals.Add(new Arrival(Now, IsChannel: true, value)));
    }

    public IMachine Machine => _machine;

    public MachineStatus Status => _machine.Status;

    /// <summary>Lab time that the machine has reached.</summary>
    public ulong Now => _startedAt + _machine.Now;

    public List<Arrival> Arrivals { get; } = [];

    public List<(ulong MachineTime, ulong Hash)> Checkpoints { get; } = [];

    /// <summary>What the machine threw: our own mistake, never the guest's.</summary>
    public Exception? Crash { get; private set; }

    /// <summary>
    /// Whether the machine was busy enough in the last quantum to be worth another thread: a function of the guest
    /// alone.
    /// </summary>
    public bool IsHeavy { get; private set; } = true;

    /// <summary>Runs to a lab time exactly, or until the machine stops or is held.</summary>
    public void RunUntil(ulong labTime)
    {
        try
        {
            ulong until = labTime - _startedAt;
            if (_keepsHashes) RunByCheckpoints(until);
            else _machine.RunUntil(until);
        }
        catch (Exception crash)
        {
            Crash = crash;
        }
        IsHeavy = _machine.Retired - _retiredBefore > HeavyCounts;
        _retiredBefore = _machine.Retired;
    }

    /// <summary>The machine's clock stood still for so long.</summary>
    public void Delay(ulong nanoseconds) => _startedAt += nanoseconds;

    /// <summary>Takes a moment, between two quanta.</summary>
    public Moment Snapshot() => new(_machine.Snapshot(), _startedAt, _retiredBefore, IsHeavy);

    public void Restore(Moment moment)
    {
        _machine.Restore(moment.Machine);
        Arrivals.Clear();   // of a quantum that a hook broke off
        Checkpoints.Clear();
        Take(moment);
    }

    /// <summary>Takes over all but what the machine itself remembers.</summary>
    public void Take(Moment moment) =>
        (_startedAt, _retiredBefore, IsHeavy) = (moment.StartedAt, moment.RetiredBefore, moment.IsHeavy);

    public void Dispose() => _machine.Dispose();

    void RunByCheckpoints(ulong until)
    {
        while (_machine.Now < until && _machine.Status == MachineStatus.Running)
        {
            ulong checkpoint = (_machine.Now / CheckpointInterval + 1) * CheckpointInterval;
            _machine.RunUntil(Math.Min(until, checkpoint));
            if (_machine.Now == checkpoint) Checkpoints.Add((checkpoint, _machine.StateHash()));
            if (_machine.IsHeld) return;
        }
    }
}

/// <summary>A byte that a guest sent.</summary>
/// <param name="Time">Lab time, in nanoseconds.</param>
readonly record struct Arrival(ulong Time, bool IsChannel, byte Value);
