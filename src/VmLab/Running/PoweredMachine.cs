using VmLab.Devices.Storage;
using VmLab.Faults;
using VmLab.Machines;

namespace VmLab.Running;

/// <summary>
/// One power-on of a machine: runs it to lab times, on whatever thread, and keeps what it sends until the quantum's
/// end.
/// </summary>
sealed class PoweredMachine : IDisposable
{
    /// <summary>The machine at one moment.</summary>
    /// <param name="RetiredBefore">Counts up to the last quantum's end.</param>
    public sealed record Moment(MachineMoment Machine, MachineClock Clock, ulong RetiredBefore, bool IsHeavy);

    /// <summary>Counts of machine time between two lines of the hash log.</summary>
    public const ulong CheckpointInterval = 100_000_000;

    // What a machine retires in a quantum before it is worth another thread.
    const ulong HeavyCounts = 50_000;

    readonly string _name;
    readonly IMachine _machine;
    readonly bool _keepsHashes;
    readonly MachineFaults _faults;
    readonly MachinePorts _ports;
    MachineClock _clock;
    ulong _retiredBefore;
    bool _struckWithin, _stalls;

    /// <param name="startedAt">Lab time of the power-on.</param>
    public PoweredMachine(string name, IMachine machine, ulong startedAt, MachineFaults faults, MachinePorts ports, bool keepsHashes)
    {
        _name = name;
        _machine = machine;
        _faults = faults;
        _ports = ports;
        _clock = new MachineClock(startedAt, 0, Drift: 0);
        _keepsHashes = keepsHashes;
        machine.Connect(
            value =>
            {
                Arrivals.Add(new Arrival(Now, IsChannel: false, value));
                Meet(new ConsoleByte(name, value));
            },
            value => Arrivals.Add(new Arrival(Now, IsChannel: true, value)));
        machine.ObserveDisks(MeetDiskUse, (disk, what) => _faults.Done.Add((Now, $"disk {disk}: {what}")));
        ports.Plug(this);
    }

    public IMachine Machine => _machine;

    public MachineStatus Status => _machine.Status;

    /// <summary>Lab time that the machine has reached.</summary>
    public ulong Now => _clock.LabAt(_machine.Now);

    public List<Arrival> Arrivals { get; } = [];

    /// <summary>What faults of other machines may wait for, since the last quantum's end.</summary>
    public List<Happening> Happened { get; } = [];

    public List<(ulong MachineTime, ulong Hash)> Checkpoints { get; } = [];

    /// <summary>What the machine threw: our own mistake, never the guest's.</summary>
    public Exception? Crash { get; private set; }

    /// <summary>
    /// Whether the machine was busy enough in the last quantum to be worth another thread: a function of the guest
    /// alone.
    /// </summary>
    public bool IsHeavy { get; private set; } = true;

    /// <summary>It is inside <see cref="RunUntil"/>.</summary>
    public bool IsInRun { get; private set; }

    /// <summary>Whether it met something without which it cannot go on, in the last quantum; told once.</summary>
    public bool TakeStall()
    {
        bool stalls = _stalls;
        _stalls = false;
        return stalls;
    }

    /// <summary>The machine cannot go on behind this quantum.</summary>
    public void Stall() => _stalls = true;

    /// <summary>Runs to a lab time exactly, or until the machine stops or is held.</summary>
    public void RunUntil(ulong labTime)
    {
        IsInRun = true;
        try
        {
            while (RunTo(Math.Min(labTime, NextAt)) is { } reached && (reached >= NextAt || _struckWithin))
            {
                _struckWithin = false;
                _ports.Deliver(_machine, reached);
                if (reached >= _faults.NextAt) Strike(reached);
            }
        }
        catch (Exception crash)
        {
            Crash = crash;
        }
        IsInRun = false;
        IsHeavy = _machine.Retired - _retiredBefore > HeavyCounts;
        _retiredBefore = _machine.Retired;
    }

    /// <summary>Lab time before which nothing happens in the machine or to it.</summary>
    public ulong QuietUntil => Math.Min(_clock.LabAt(_machine.AsleepUntil), NextAt);

    // Lab time of the next thing that comes from outside.
    ulong NextAt => Math.Min(_faults.NextAt, _ports.NextAt);

    /// <summary>The machine's clock stood still for so long.</summary>
    public void Delay(ulong nanoseconds) => _clock = _clock.Delayed(nanoseconds);

    /// <summary>Takes a moment, between two quanta.</summary>
    /// <param name="delay">For how long the machine has stood still, in nanoseconds, which it has not been told of.</param>
    public Moment Snapshot(ulong delay) => new(_machine.Snapshot(), _clock.Delayed(delay), _retiredBefore, IsHeavy);

    public void Restore(Moment moment)
    {
        _machine.Restore(moment.Machine);
        Happened.Clear();
        Arrivals.Clear();   // of a quantum that a hook broke off
        Checkpoints.Clear();
        _stalls = false;
        Take(moment);
    }

    /// <summary>Goes on where another went with the same machine.</summary>
    public void Follow(PoweredMachine before) => (_clock, _retiredBefore, IsHeavy) = (before._clock, before._retiredBefore, before.IsHeavy);

    /// <summary>Takes over all but what the machine itself remembers.</summary>
    public void Take(Moment moment) =>
        (_clock, _retiredBefore, IsHeavy) = (moment.Clock, moment.RetiredBefore, moment.IsHeavy);

    public void Dispose() => _machine.Dispose();

    /// <summary>Something happened that a fault may wait for: the machine stops there, to be struck.</summary>
    public void Meet(Happening what)
    {
        Happened.Add(what);
        if (_faults.Look(what, Now)) _machine.Pc.Interrupt();
    }

    /// <summary>A request is about to be done: what strikes because of it must strike before.</summary>
    void MeetDiskUse(string disk, DiskRequest request)
    {
        var use = new DiskUse(_name, disk, request);
        Happened.Add(use);
        if (!_faults.Look(use, Now)) return;
        Strike(Now);
        _struckWithin = true;
        _machine.Pc.Interrupt();
    }

    /// <summary>Runs to a lab time; a fault on the console, a hook or the machine's end may come first.</summary>
    /// <returns>The lab time that was reached; <see langword="null"/> if the machine runs no more.</returns>
    ulong? RunTo(ulong labTime)
    {
        ulong until = _clock.MachineAt(labTime);
        if (_keepsHashes) RunByCheckpoints(until);
        else _machine.RunUntil(until);
        if (_machine.Status != MachineStatus.Running) return null;
        return _machine.Now >= until ? labTime : Now;
    }

    void Strike(ulong labTime)
    {
        var target = new Struck(_machine.Pc, _clock);
        _faults.StrikeDue(target, labTime);
        _clock = target.Clock;
    }

    void RunByCheckpoints(ulong until)
    {
        while (_machine.Now < until && _machine.Status == MachineStatus.Running)
        {
            ulong checkpoint = (_machine.Now / CheckpointInterval + 1) * CheckpointInterval;
            ulong stop = Math.Min(until, checkpoint);
            _machine.RunUntil(stop);
            if (_machine.Now < stop) return;   // something held it
            if (stop == checkpoint) Checkpoints.Add((checkpoint, _machine.StateHash()));
        }
    }
}

/// <summary>A byte that a guest sent.</summary>
/// <param name="Time">Lab time, in nanoseconds.</param>
readonly record struct Arrival(ulong Time, bool IsChannel, byte Value);
