using VmLab.Core;

namespace VmLab.Devices;

/// <summary>The 8254 interval timer: three counters at 1.193182 MHz; the first drives an interrupt line.</summary>
/// <remarks>
/// Simplified: the interrupt line shows the rises of OUT; its fall is seen together with the next rise, but for modes
/// 0 and 1, where a control word lowers it. Rises that nobody waited for are one. Source: Intel 82C54 data sheet
/// (231244).
/// </remarks>
/// <param name="irq">OUT of channel 0.</param>
public sealed class Pit8254(IClock clock, IrqLine irq) : IBytePortDevice, ITimed, ISnapshot<Pit8254.State>, IDrivesLines
{
    /// <summary>Of the input clock: a third of the colour burst, as Linux rounds it.</summary>
    public const ulong Hertz = 1_193_182;

    /// <param name="Accounted">Tick up to which the interrupt line has seen channel 0.</param>
    [Schema("pit8254", version: 1)]
    public record struct State(PitChannel Zero, PitChannel One, PitChannel Two, ulong Accounted);

    const int ControlWord = 3;

    static readonly Oscillator s_crystal = new(Hertz);

    State _state = new(PitChannel.PowerOn, PitChannel.PowerOn, PitChannel.PowerOn with { Gate = false }, 0);

    public ulong NextDeadline { get; private set; } = Oscillator.Never;

    /// <summary>OUT of channel 2, which a PC hears and port 0x61 reads.</summary>
    public bool IsOutputTwoHigh => _state.Two.Settle(Tick).OutputAt(Tick);

    /// <summary>Gate of channel 2, which port 0x61 sets; the other two are tied high.</summary>
    public bool GateTwo
    {
        get => _state.Two.Gate;
        set => _state.Two = _state.Two.SetGate(value, Tick);
    }

    ulong Tick => s_crystal.TicksAt(clock.Now);

    bool LineLevel => _state.Zero.Mode >= 2 || _state.Zero.OutputAt(_state.Accounted);

    public byte Read(int offset)
    {
        if (offset is < 0 or >= ControlWord) return 0xFF;
        this[offset] = this[offset].Read(Tick, out byte value);
        return value;
    }

    public void Write(int offset, byte value)
    {
        Advance();
        if (offset == ControlWord) Control(value);
        else if (offset is >= 0 and < ControlWord) this[offset] = this[offset].Write(value, Tick);
        Settle();
    }

    public void Advance()
    {
        ulong tick = Tick;
        bool hasRisen = _state.Zero.NextRise(_state.Accounted) <= tick;
        _state.Zero = _state.Zero.Settle(tick);
        _state.Accounted = tick;
        if (hasRisen) irq.Set(false);
        Settle();
    }

    public State Save() => _state;

    public void Restore(State state)
    {
        _state = state;
        FindDeadline();
    }

    public void RestoreLines() => irq.SetSilently(LineLevel);

    PitChannel this[int channel]
    {
        get => channel switch { 0 => _state.Zero, 1 => _state.One, _ => _state.Two };
        set
        {
            switch (channel)
            {
                case 0: _state.Zero = value; break;
                case 1: _state.One = value; break;
                default: _state.Two = value; break;
            }
        }
    }

    void Control(byte value)
    {
        int channel = value >> 6;
        if (channel == 3) ReadBack(value);
        else if ((value & 0x30) == 0) this[channel] = this[channel].LatchCount(Tick);
        else this[channel] = this[channel].Configure(value);
    }

    void ReadBack(byte command)
    {
        const int NoCount = 0x20, NoStatus = 0x10;
        for (int channel = 0; channel < 3; channel++)
        {
            if ((command & 2 << channel) == 0) continue;
            if ((command & NoCount) == 0) this[channel] = this[channel].LatchCount(Tick);
            if ((command & NoStatus) == 0) this[channel] = this[channel].LatchStatus(Tick);
        }
    }

    void Settle()
    {
        irq.Set(LineLevel);
        FindDeadline();
    }

    void FindDeadline()
    {
        ulong rise = _state.Zero.NextRise(_state.Accounted);
        NextDeadline = rise == Oscillator.Never ? rise : s_crystal.TimeOf(rise);
    }
}
