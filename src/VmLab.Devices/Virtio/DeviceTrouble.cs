using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>What is wrong with a virtio device, whichever it is: it loses interrupts, raises too many, hangs, or is gone.</summary>
/// <remarks>An interrupt is one of a queue; those of the configuration always arrive.</remarks>
public sealed class DeviceTrouble(VirtioDevice device, IClock clock) : ISnapshot<DeviceTrouble.State>, ITimed
{
    /// <param name="InterruptsToDrop">How many of its interrupts get lost from now on.</param>
    /// <param name="StormPeriod">Time between two interrupts for nothing, in nanoseconds; 0 for none.</param>
    /// <param name="StormAt">Machine time of the next of them.</param>
    [Schema("device-trouble", version: 1)]
    public readonly record struct State(int InterruptsToDrop, bool IsHung, bool IsUnplugged, ulong StormPeriod, ulong StormAt);

    State _state;

    /// <summary>The device serves nothing, and forgets nothing.</summary>
    public bool IsHung
    {
        get => _state.IsHung;
        set => _state = _state with { IsHung = value };
    }

    /// <summary>The device answers nothing on its bus: reads are ones.</summary>
    public bool IsUnplugged
    {
        get => _state.IsUnplugged;
        set => Restore(_state with { IsUnplugged = value });
    }

    public ulong NextDeadline => _state.StormPeriod == 0 ? VirtqueueState.Never : _state.StormAt;

    /// <summary>Loses the next interrupts.</summary>
    public void DropInterrupts(int count) => _state = _state with { InterruptsToDrop = _state.InterruptsToDrop + count };

    /// <summary>Interrupts for nothing, again and again.</summary>
    /// <param name="period">In nanoseconds; 0 ends it.</param>
    public void Storm(ulong period) => _state = _state with { StormPeriod = period, StormAt = clock.Now + period };

    public void Advance()
    {
        if (_state.StormPeriod == 0 || clock.Now < _state.StormAt) return;
        _state = _state with { StormAt = clock.Now + _state.StormPeriod };
        if (device.Transport.IsLive) device.Transport.InterruptFor(0);
    }

    public State Save() => _state;

    public void Restore(State state)
    {
        _state = state;
        device.Transport.Function.IsAbsent = state.IsUnplugged;
    }

    internal bool TakesInterrupt()
    {
        if (_state.InterruptsToDrop == 0) return false;
        _state = _state with { InterruptsToDrop = _state.InterruptsToDrop - 1 };
        return true;
    }
}
