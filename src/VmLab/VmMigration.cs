using VmLab.Machines;
using VmLab.Running;

namespace VmLab;

// How a machine moves from host to host.
public sealed partial class Vm
{
    ulong? _frozenAt;

    /// <summary>The host that the machine runs on; <see langword="null"/> is one of its own.</summary>
    public string? HostName { get; private set; }

    /// <summary>A migration has stopped it.</summary>
    internal bool IsFrozen => _frozenAt is not null;

    ulong StoodStill => _frozenAt is { } since ? Lab.Nanoseconds - since : 0;

    /// <summary>What the machine is, for one that is to be the same elsewhere.</summary>
    internal MachineConfig Config => ConfigOf(_powerOns - 1);

    internal int PowerOns => _powerOns;

    /// <summary>Stops machine and clock.</summary>
    internal void Freeze() => _frozenAt ??= Lab.Nanoseconds;

    /// <summary>Goes on: for the guest, no time has passed.</summary>
    internal void Thaw()
    {
        if (_frozenAt is null) return;
        if (_pausedAt is null)
        {
            Powered.Delay(StoodStill);
            Ports.HoldUntil(Lab.Nanoseconds);
        }
        _frozenAt = null;
    }

    /// <summary>A migration lost it: some of its memory is nowhere, and what is there of it means nothing.</summary>
    internal bool IsLost { get; private set; }

    /// <summary>It stands still for good, until it is powered on anew.</summary>
    internal void Lose()
    {
        Lab.Add(this, "was lost: some of its pages never came", EventKind.Failure);
        Thaw();
        IsLost = true;
        PowerOff();
    }

    /// <summary>It runs in another process from now on.</summary>
    internal void Depart(string host)
    {
        HostName = host;
        Powered.Machine.Pc.Depart();
        NoteStop();
    }

    /// <summary>Makes the machine that a moment of this one is of; nothing leads to it yet.</summary>
    internal IMachine Build(MachineMoment moment) => _build(Config, Lab.Pool, moment);

    /// <summary>The machine runs on a host from now on, and is another one with the same state.</summary>
    internal void MoveTo(string host, IMachine machine)
    {
        PoweredMachine before = Powered;
        ulong crashHook = _crashes.Address;
        _powered = new PoweredMachine(Name, machine, startedAt: 0, Faults, Ports, Lab.KeepsHashes);
        _powered.Follow(before);
        HostName = host;
        before.Dispose();
        if (_gdb is not null) machine.Serve(_gdb);
        foreach (IHook hook in _hooks) hook.Arm(machine.Pc);
        _crashes.Forget();
        _crashes.Arm(crashHook);
    }
}
