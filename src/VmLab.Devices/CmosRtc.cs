using VmLab.Core;

namespace VmLab.Devices;

/// <summary>
/// The MC146818 clock of a PC: time and date, alarm, periodic interrupt, and 114 bytes that outlive the power.
/// </summary>
/// <remarks>
/// Simplified: the day of the week follows the date and cannot be set; there is no daylight saving and no square-wave
/// output; a number out of range carries into the next larger unit once the clock runs. Flags are found from the
/// state and the clock when somebody looks, so a second that nobody waits for costs nothing.
/// Source: Motorola MC146818A data sheet (1984); the century byte at 0x32 as in the ACPI FADT.
/// </remarks>
public sealed class CmosRtc : IBytePortDevice, ITimed, ISnapshot<CmosRtc.State>, IDrivesLines
{
    /// <param name="Index">Which byte the data port shows, and the NMI mask in bit 7.</param>
    /// <param name="Ram">
    /// All 128 bytes but control registers and, while the clock runs, the time; while it stands still, the time as
    /// written.
    /// </param>
    /// <param name="Flags">Register C: what happened since it was last read.</param>
    /// <param name="Seconds">Seconds since 1970 up to <paramref name="UpdateAt"/>.</param>
    /// <param name="UpdateAt">Machine time of an update, in nanoseconds; the others are whole seconds away.</param>
    /// <param name="SettledAt">Machine time up to which flags are accounted for, in nanoseconds.</param>
    [Schema("cmos-rtc", version: 1)]
    public record struct State(
        byte Index, Values<byte> Ram, byte ControlA, byte ControlB, Interrupts Flags, long Seconds, ulong UpdateAt,
        ulong SettledAt);

    /// <summary>The same bits enable interrupts in register B and report their causes in register C.</summary>
    [Flags]
    public enum Interrupts : byte { None = 0, Updated = 0x10, Alarm = 0x20, Periodic = 0x40 }

    const int Second = 0x00, SecondAlarm = 0x01, Minute = 0x02, MinuteAlarm = 0x03, Hour = 0x04, HourAlarm = 0x05,
              Weekday = 0x06, Day = 0x07, Month = 0x08, Year = 0x09, A = 0x0A, B = 0x0B, C = 0x0C, D = 0x0D,
              Century = 0x32;

    const byte UpdateInProgress = 0x80, DividerReset = 0x60, RateBits = 0x0F;             // register A
    const byte Set = 0x80, Binary = 0x04, TwentyFourHours = 0x02, AllEnables = 0x70;      // register B
    const byte InterruptRequest = 0x80, RamIsValid = 0x80, Afternoon = 0x80, EveryAlarm = 0xC0;

    const ulong SecondNanoseconds = 1_000_000_000, HalfSecond = SecondNanoseconds / 2;
    const ulong UpdateNanoseconds = 2_228_000;   // 244 us of warning, then 1984 us of update, at 32.768 kHz

    static readonly Oscillator s_crystal = new(32_768);

    readonly IClock _clock;
    readonly IrqLine _irq;
    State _state;

    /// <param name="powerOn">What the clock shows when machine time is 0; fractions of a second are dropped.</param>
    public CmosRtc(IClock clock, IrqLine irq, DateTimeOffset powerOn)
    {
        _clock = clock;
        _irq = irq;
        _state = new State
        {
            Ram = Values.Repeat((byte)0, 128),
            ControlA = 0x26,
            ControlB = TwentyFourHours,
            Seconds = powerOn.ToUnixTimeSeconds(),
            UpdateAt = SecondNanoseconds,
        };
    }

    public ulong NextDeadline { get; private set; } = Oscillator.Never;

    bool IsDividerReset => (_state.ControlA & DividerReset) == DividerReset;

    bool IsRunning => (_state.ControlB & Set) == 0 && !IsDividerReset;

    Interrupts Enabled => (Interrupts)(_state.ControlB & AllEnables);

    bool LineLevel => (_state.Flags & Enabled) != 0;

    /// <summary>Ticks of the crystal between periodic interrupts; 0 for none.</summary>
    ulong PeriodTicks => (_state.ControlA & RateBits) switch
    {
        0 => 0,
        1 => 128,
        2 => 256,
        int rate => 1UL << rate - 1,
    };

    public byte Read(int offset)
    {
        if (offset != 1) return 0xFF;
        Settle();
        int index = _state.Index & 0x7F;
        return index switch
        {
            A => (byte)(_state.ControlA | (IsUpdating ? UpdateInProgress : 0)),
            B => _state.ControlB,
            C => TakeFlags(),
            D => RamIsValid,
            _ => IsRunning && IsTime(index) ? Show(index) : _state.Ram[index],
        };
    }

    public void Write(int offset, byte value)
    {
        if (offset == 0) _state.Index = value;
        if (offset != 1) return;
        Settle();
        int index = _state.Index & 0x7F;
        if (index == A) SetControlA((byte)(value & 0x7F));
        else if (index == B) SetControlB(value);
        else if (index is C or D) return;
        else SetRam(index, value);
        Drive();
    }

    public void Advance()
    {
        Settle();
        Drive();
    }

    public State Save() => _state;

    public void Restore(State state)
    {
        _state = state;
        NextDeadline = FindDeadline();
    }

    public void RestoreLines() => _irq.SetSilently(LineLevel);

    bool IsUpdating => IsRunning && _state.UpdateAt - _clock.Now <= UpdateNanoseconds;

    /// <summary>Brings time and flags up to now.</summary>
    void Settle()
    {
        ulong now = _clock.Now;
        if (!IsDividerReset && PeriodTicks is > 0 and var period
            && TickAt(now) / period != TickAt(_state.SettledAt) / period)
            _state.Flags |= Interrupts.Periodic;
        if (IsRunning && now >= _state.UpdateAt)
        {
            ulong updates = (now - _state.UpdateAt) / SecondNanoseconds + 1;
            _state.Flags |= Interrupts.Updated;
            if (NextAlarm - _state.Seconds <= (long)updates) _state.Flags |= Interrupts.Alarm;
            _state.Seconds += (long)updates;
            _state.UpdateAt += updates * SecondNanoseconds;
        }
        _state.SettledAt = now;
    }

    void Drive()
    {
        NextDeadline = FindDeadline();
        _irq.Set(LineLevel);
    }

    // A cause that is flagged already changes nothing by happening again.
    ulong FindDeadline()
    {
        Interrupts awaited = Enabled & ~_state.Flags;
        ulong deadline = Oscillator.Never;
        if ((awaited & Interrupts.Periodic) != 0 && !IsDividerReset && PeriodTicks is > 0 and var period)
            deadline = s_crystal.TimeOf((TickAt(_state.SettledAt) / period + 1) * period) - TickOffset;
        if (!IsRunning) return deadline;
        if ((awaited & Interrupts.Updated) != 0) deadline = Math.Min(deadline, _state.UpdateAt);
        if ((awaited & Interrupts.Alarm) != 0) deadline = Math.Min(deadline, TimeOfSecond(NextAlarm));
        return deadline;
    }

    // The chain of dividers passes a whole second at each update.
    ulong TickOffset => SecondNanoseconds - _state.UpdateAt % SecondNanoseconds;

    ulong TickAt(ulong time) => s_crystal.TicksAt(time + TickOffset);

    ulong TimeOfSecond(long second) =>
        second == long.MaxValue
            ? Oscillator.Never
            : _state.UpdateAt + (ulong)(second - _state.Seconds - 1) * SecondNanoseconds;

    long NextAlarm => RtcTime.NextMatch(
        _state.Seconds, AlarmAt(HourAlarm), AlarmAt(MinuteAlarm), AlarmAt(SecondAlarm));

    int? AlarmAt(int index) => _state.Ram[index] is var value && value >= EveryAlarm ? null
        : index == HourAlarm ? DecodeHour(value)
        : Decode(value);

    byte TakeFlags()
    {
        byte value = (byte)((byte)_state.Flags | (LineLevel ? InterruptRequest : 0));
        _state.Flags = Interrupts.None;
        Drive();
        return value;
    }

    void SetControlA(byte value)
    {
        bool wasRunning = IsRunning, wasReset = IsDividerReset;
        if (wasRunning) KeepTime();
        _state.ControlA = value;
        if (wasReset && !IsDividerReset) _state.UpdateAt = _clock.Now + HalfSecond;
        SetGoing(wasRunning);
    }

    void SetControlB(byte value)
    {
        bool wasRunning = IsRunning;
        if (wasRunning) KeepTime();
        _state.ControlB = (value & Set) != 0 ? (byte)(value & ~(byte)Interrupts.Updated) : value;
        SetGoing(wasRunning);
    }

    void SetRam(int index, byte value)
    {
        bool setsTime = IsRunning && IsTime(index);
        if (setsTime) KeepTime();
        _state.Ram = _state.Ram.With(index, value);
        if (setsTime) _state.Seconds = TimeInRam.ToSeconds();
    }

    // A clock that starts takes the time from its registers; its seconds keep the phase of the divider.
    void SetGoing(bool wasRunning)
    {
        if (wasRunning || !IsRunning) return;
        _state.Seconds = TimeInRam.ToSeconds();
        if (_state.UpdateAt > _clock.Now) return;
        _state.UpdateAt += ((_clock.Now - _state.UpdateAt) / SecondNanoseconds + 1) * SecondNanoseconds;
    }

    void KeepTime()
    {
        Span<byte> ram = stackalloc byte[128];
        _state.Ram.Span.CopyTo(ram);
        for (int index = 0; index < ram.Length; index++)
            if (IsTime(index)) ram[index] = Show(index);
        _state.Ram = Values.Of<byte>(ram);
    }

    RtcTime TimeInRam => new(
        Decode(_state.Ram[Century]) * 100 + Decode(_state.Ram[Year]),
        Decode(_state.Ram[Month]), Decode(_state.Ram[Day]),
        DecodeHour(_state.Ram[Hour]), Decode(_state.Ram[Minute]), Decode(_state.Ram[Second]));

    byte Show(int index)
    {
        RtcTime time = RtcTime.FromSeconds(_state.Seconds);
        return index switch
        {
            Second => Encode(time.Second),
            Minute => Encode(time.Minute),
            Hour => EncodeHour(time.Hour),
            Weekday => Encode(RtcTime.WeekdayOf(_state.Seconds)),
            Day => Encode(time.Day),
            Month => Encode(time.Month),
            Year => Encode(time.Year % 100),
            _ => Encode(time.Year / 100),
        };
    }

    static bool IsTime(int index) => index is Second or Minute or Hour or (>= Weekday and <= Year) or Century;

    byte Encode(int value) => (byte)((_state.ControlB & Binary) != 0 ? value : value / 10 << 4 | value % 10);

    int Decode(byte value) => (_state.ControlB & Binary) != 0 ? value : (value >> 4) * 10 + (value & 0xF);

    byte EncodeHour(int hour)
    {
        if ((_state.ControlB & TwentyFourHours) != 0) return Encode(hour);
        return (byte)(Encode((hour + 11) % 12 + 1) | (hour >= 12 ? Afternoon : 0));
    }

    int DecodeHour(byte value)
    {
        if ((_state.ControlB & TwentyFourHours) != 0) return Decode(value);
        return Decode((byte)(value & 0x7F)) % 12 + ((value & Afternoon) != 0 ? 12 : 0);
    }
}
