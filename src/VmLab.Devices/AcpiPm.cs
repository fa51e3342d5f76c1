using VmLab.Core;

namespace VmLab.Devices;

/// <summary>
/// The fixed power-management hardware of ACPI: PM1 events and control, and the power-management timer.
/// </summary>
/// <remarks>
/// Sixteen ports: status at 0, enable at 2, control at 4, timer at 8. Simplified: the machine is in ACPI mode from
/// power-on (the FADT gives no SMI command port), and of the sleeping states only soft-off is there; others are not
/// entered.
/// Source: ACPI specification 6.4, §4.8.2 (power-management timer), §4.8.3 (PM1 registers).
/// </remarks>
/// <param name="sci">The system control interrupt.</param>
/// <param name="powerOff">Called when the guest enters soft-off.</param>
/// <param name="softOffType">The sleep type, 0 to 7, that the DSDT's <c>\_S5</c> names.</param>
/// <param name="isTimerWide">Whether the timer has 32 bits (the FADT says so) rather than 24.</param>
public sealed class AcpiPm(IClock clock, IrqLine sci, Action powerOff, byte softOffType, bool isTimerWide = true)
    : IBytePortDevice, ITimed, ISnapshot<AcpiPm.State>, IDrivesLines
{
    /// <param name="Overflows">How often the timer's highest bit has changed, as far as the status knows.</param>
    [Schema("acpi-pm", version: 1)]
    public record struct State(Events Status, Events Enabled, ushort Control, ulong Overflows);

    [Flags]
    public enum Events : ushort
    {
        None = 0, Timer = 0x0001, BusMaster = 0x0010, Global = 0x0020, PowerButton = 0x0100, SleepButton = 0x0200,
        Clock = 0x0400, Wake = 0x8000,
    }

    /// <summary>Ports that the block takes.</summary>
    public const int PortCount = 16;

    /// <summary>Of the power-management timer.</summary>
    public const ulong TimerHertz = 3_579_545;

    const int Status = 0, Enable = 2, Control = 4, Timer = 8;
    const Events Enableable = Events.Timer | Events.Global | Events.PowerButton | Events.SleepButton | Events.Clock;
    const Events Clearable = Enableable | Events.BusMaster | Events.Wake;
    const ushort InAcpiMode = 0x0001, SleepEnable = 0x2000, WritableControl = 0x1C02;

    static readonly Oscillator s_crystal = new(TimerHertz);

    State _state;

    int HighestBit => isTimerWide ? 31 : 23;

    ulong Tick => s_crystal.TicksAt(clock.Now);

    bool LineLevel => (_state.Status & _state.Enabled) != 0;

    /// <summary>The next change of the timer's highest bit, if the guest waits for one.</summary>
    public ulong NextDeadline =>
        (_state.Enabled & ~_state.Status & Events.Timer) != 0 && _state.Overflows < ulong.MaxValue >> HighestBit
            ? s_crystal.TimeOf(_state.Overflows + 1 << HighestBit)
            : Oscillator.Never;

    public byte Read(int offset)
    {
        Advance();
        return offset switch
        {
            Status or Status + 1 => ByteOf((ushort)_state.Status, offset - Status),
            Enable or Enable + 1 => ByteOf((ushort)_state.Enabled, offset - Enable),
            Control or Control + 1 => ByteOf((ushort)(_state.Control | InAcpiMode), offset - Control),
            >= Timer and < Timer + 4 => (byte)((Tick & (2UL << HighestBit) - 1) >> 8 * (offset - Timer)),
            _ => 0,
        };
    }

    public void Write(int offset, byte value)
    {
        Advance();
        switch (offset)
        {
            case Status or Status + 1: _state.Status &= ~((Events)(value << 8 * offset) & Clearable); break;
            case Enable or Enable + 1: SetEnabled(Merge((ushort)_state.Enabled, value, offset - Enable)); break;
            case Control or Control + 1: SetControl(Merge(_state.Control, value, offset - Control)); break;
        }
        sci.Set(LineLevel);
    }

    /// <summary>Presses the power button: a guest that listens shuts down.</summary>
    public void PressPowerButton()
    {
        _state.Status |= Events.PowerButton;
        sci.Set(LineLevel);
    }

    public void Advance()
    {
        ulong overflows = Tick >> HighestBit;
        if (overflows == _state.Overflows) return;
        _state.Overflows = overflows;
        _state.Status |= Events.Timer;
        sci.Set(LineLevel);
    }

    public State Save() => _state;

    public void Restore(State state) => _state = state;

    public void RestoreLines() => sci.SetSilently(LineLevel);

    void SetEnabled(ushort value) => _state.Enabled = (Events)value & Enableable;

    void SetControl(ushort value)
    {
        _state.Control = (ushort)(value & WritableControl);
        if ((value & SleepEnable) != 0 && (value >> 10 & 7) == softOffType) powerOff();
    }

    static byte ByteOf(ushort value, int index) => (byte)(value >> 8 * index);

    static ushort Merge(ushort value, byte part, int index) =>
        (ushort)(value & ~(0xFF << 8 * index) | part << 8 * index);
}
