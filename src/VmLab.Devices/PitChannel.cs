namespace VmLab.Devices;

/// <summary>One counter of the 8254, as pure functions of what was written and of the tick that it is.</summary>
/// <remarks>
/// Ticks are those of the 1.193182 MHz input clock since power-on. Simplified: in mode 3 a count written while
/// another runs takes effect at the end of the whole cycle rather than of its half; a count of 1, illegal in modes 2
/// and 3, acts as 2.
/// Source: Intel 82C54 data sheet (231244), "Programming the 82C54" and "Mode definitions".
/// </remarks>
/// <param name="Mode">0 to 5.</param>
/// <param name="Access">1: low byte only; 2: high byte only; 3: low, then high.</param>
/// <param name="Reload">
/// The count register: what was written last, decimal digits if <paramref name="IsDecimal"/>.
/// </param>
/// <param name="Count">What the counting element was loaded with.</param>
/// <param name="StartedAt">Tick at which it was loaded; it may be the next one.</param>
/// <param name="HeldAt">Tick at which a low gate stopped it.</param>
/// <param name="SwitchAt">Tick at which <paramref name="Reload"/> takes over in modes 2 and 3, or never.</param>
public readonly record struct PitChannel(
    byte Mode, byte Access, bool IsDecimal, PitPhase Phase, bool Gate, ushort Reload, ushort Count,
    ulong StartedAt, ulong HeldAt, ulong SwitchAt,
    byte LowByte, bool WritesHigh, bool ReadsHigh,
    bool HasLatchedCount, ushort LatchedCount, bool HasLatchedStatus, byte LatchedStatus)
{
    public static readonly PitChannel PowerOn = new() { Access = 3, Gate = true, SwitchAt = Oscillator.Never };

    bool IsTriggeredByGate => Mode is 1 or 5;
    bool IsPeriodic => Mode is 2 or 3;
    bool IsHeld => !Gate && !IsTriggeredByGate;
    ulong Modulus => IsDecimal ? 10_000UL : 0x1_0000UL;

    ulong Period
    {
        get
        {
            ulong count = IsDecimal ? FromDecimal(Count) : Count;
            if (count == 0) count = Modulus;
            return IsPeriodic ? Math.Max(count, 2) : count;
        }
    }

    /// <summary>Writes a control word that selects this channel and is no latch command.</summary>
    public PitChannel Configure(byte control) => PowerOn with
    {
        Access = (byte)(control >> 4 & 3),
        Mode = (byte)((control >> 1 & 7) is var mode && mode > 5 ? mode - 4 : mode),
        IsDecimal = (control & 1) != 0,
        Gate = Gate,
    };

    public PitChannel Write(byte value, ulong tick)
    {
        if (Access == 1) return Load(value, tick);
        if (Access == 2) return Load((ushort)(value << 8), tick);
        if (WritesHigh) return (this with { WritesHigh = false }).Load((ushort)(value << 8 | LowByte), tick);
        PitChannel half = this with { LowByte = value, WritesHigh = true };
        return Mode == 0 ? half with { Phase = PitPhase.Idle } : half;   // mode 0 stops at the first byte of two
    }

    /// <summary>Reads the latched status, the latched count, or the running count, in this order.</summary>
    public PitChannel Read(ulong tick, out byte value)
    {
        if (HasLatchedStatus)
        {
            value = LatchedStatus;
            return this with { HasLatchedStatus = false };
        }
        ushort count = HasLatchedCount ? LatchedCount : CountAt(tick);
        bool isHigh = Access == 2 || Access == 3 && ReadsHigh;
        bool isLast = Access != 3 || ReadsHigh;
        value = (byte)(isHigh ? count >> 8 : count);
        return this with { ReadsHigh = !isLast, HasLatchedCount = HasLatchedCount && !isLast };
    }

    public PitChannel LatchCount(ulong tick) =>
        HasLatchedCount ? this : this with { HasLatchedCount = true, LatchedCount = CountAt(tick) };

    public PitChannel LatchStatus(ulong tick) =>
        HasLatchedStatus ? this : this with { HasLatchedStatus = true, LatchedStatus = StatusAt(tick) };

    public PitChannel SetGate(bool high, ulong tick)
    {
        if (high == Gate) return this;
        PitChannel settled = Settle(tick) with { Gate = high };
        if (!high) return IsTriggeredByGate ? settled : settled with { HeldAt = tick, SwitchAt = Oscillator.Never };
        if (settled.Phase == PitPhase.Idle) return settled;
        if (IsPeriodic || IsTriggeredByGate) return settled.Start(tick);
        ulong done = settled.HeldAt > settled.StartedAt ? settled.HeldAt - settled.StartedAt : 0;
        return settled with { StartedAt = tick - Math.Min(done, tick) };
    }

    /// <summary>The same channel, brought up to date: a waiting count has taken over if its time has come.</summary>
    public PitChannel Settle(ulong tick) =>
        SwitchAt > tick ? this : this with { Count = Reload, StartedAt = SwitchAt, SwitchAt = Oscillator.Never };

    /// <summary>Level of the OUT pin. The channel is settled.</summary>
    public bool OutputAt(ulong tick)
    {
        bool isCounting = Phase == PitPhase.Counting;
        ulong elapsed = ElapsedAt(tick);
        return Mode switch
        {
            0 => isCounting && elapsed >= Period,
            1 => !isCounting || tick < StartedAt || elapsed >= Period,
            2 => !isCounting || IsHeld || elapsed % Period != Period - 1,
            3 => !isCounting || IsHeld || elapsed % Period < (Period + 1) / 2,
            _ => !isCounting || elapsed != Period,
        };
    }

    /// <summary>The first tick after this one at which OUT rises, or never. The channel is settled.</summary>
    public ulong NextRise(ulong tick)
    {
        if (Phase != PitPhase.Counting || IsHeld) return Oscillator.Never;
        if (IsPeriodic) return StartedAt + (tick < StartedAt ? 1 : (tick - StartedAt) / Period + 1) * Period;
        ulong rise = StartedAt + Period + (Mode is 4 or 5 ? 1UL : 0);
        return rise > tick ? rise : Oscillator.Never;
    }

    PitChannel Load(ushort count, ulong tick)
    {
        PitChannel loaded = Settle(tick) with { Reload = count };
        if (IsTriggeredByGate) return Phase == PitPhase.Idle ? loaded with { Phase = PitPhase.Waiting } : loaded;
        bool waitsItsTurn = IsPeriodic && Phase == PitPhase.Counting && !IsHeld;
        return waitsItsTurn ? loaded with { SwitchAt = loaded.NextRise(tick) } : loaded.Start(tick);
    }

    // The counting element takes the count with the next clock.
    PitChannel Start(ulong tick) => this with
    {
        Phase = PitPhase.Counting,
        Count = Reload,
        StartedAt = tick + 1,
        HeldAt = tick + 1,
        SwitchAt = Oscillator.Never,
    };

    ulong ElapsedAt(ulong tick)
    {
        ulong until = IsHeld ? HeldAt : tick;
        return Phase != PitPhase.Counting || until <= StartedAt ? 0 : until - StartedAt;
    }

    ushort CountAt(ulong tick)
    {
        if (Phase != PitPhase.Counting) return Reload;
        PitChannel now = Settle(tick);
        ulong elapsed = now.ElapsedAt(tick), period = now.Period;
        ulong count = Mode switch
        {
            2 => period - elapsed % period,
            3 => HalvesLeft(period, elapsed % period),
            _ => period + Modulus - elapsed % Modulus,
        };
        return IsDecimal ? ToDecimal(count % Modulus) : (ushort)count;
    }

    // Mode 3 counts down by two, once for each half of the square.
    static ulong HalvesLeft(ulong period, ulong elapsed)
    {
        ulong half = (period + 1) / 2;
        return (period & ~1UL) - 2 * (elapsed < half ? elapsed : elapsed - half);
    }

    byte StatusAt(ulong tick)
    {
        PitChannel now = Settle(tick);
        bool isNull = now.Phase == PitPhase.Idle || now.SwitchAt != Oscillator.Never || tick < now.StartedAt
            || now.Count != now.Reload;
        int pins = (now.OutputAt(tick) ? 0x80 : 0) | (isNull ? 0x40 : 0);
        return (byte)(pins | Access << 4 | Mode << 1 | (IsDecimal ? 1 : 0));
    }

    static ulong FromDecimal(ushort digits) =>
        (ulong)((digits & 0xF) + 10 * (digits >> 4 & 0xF) + 100 * (digits >> 8 & 0xF) + 1000 * (digits >> 12));

    static ushort ToDecimal(ulong number) =>
        (ushort)(number % 10 | number / 10 % 10 << 4 | number / 100 % 10 << 8 | number / 1000 % 10 << 12);
}

/// <summary>What a counter of the 8254 waits for.</summary>
public enum PitPhase : byte
{
    /// <summary>A control word, but no count yet.</summary>
    Idle,

    /// <summary>A count, but no trigger yet (modes 1 and 5).</summary>
    Waiting,

    Counting,
}
