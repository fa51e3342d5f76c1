namespace VmLab.Devices;

/// <summary>One comparator of the HPET, as pure functions of what was written and of the tick that it is.</summary>
/// <param name="Config">The writable bits of the configuration register.</param>
/// <param name="Comparator">The counter value that it waits for.</param>
/// <param name="Period">What a periodic timer adds to its comparator each time.</param>
/// <param name="NextFire">Tick of the clock at which counter and comparator are next equal, or never.</param>
/// <param name="HasFired">An edge-triggered timer has fired since it was configured, so its line is high.</param>
public readonly record struct HpetTimer(ulong Config, ulong Comparator, ulong Period, ulong NextFire, bool HasFired)
{
    public const ulong Level = 0x0002, Enable = 0x0004, Periodic = 0x0008, ValueSet = 0x0040, Narrow = 0x0100,
                       Writable = 0x3F4E;

    const ulong PeriodicAble = 0x0010, WideAble = 0x0020;

    public static readonly HpetTimer PowerOn = new() { Comparator = ulong.MaxValue, NextFire = Oscillator.Never };

    public bool IsLevel => (Config & Level) != 0;
    public bool IsEnabled => (Config & Enable) != 0;
    public int Route => (int)(Config >> 9 & 0x1F);

    bool IsPeriodic => (Config & Periodic) != 0;
    ulong Mask => (Config & Narrow) != 0 ? uint.MaxValue : ulong.MaxValue;

    /// <summary>The configuration register as it reads.</summary>
    /// <param name="routes">The interrupt pins that the timer may be routed to, as bits.</param>
    public ulong ConfigWith(uint routes) => (ulong)routes << 32 | Config & ~ValueSet | PeriodicAble | WideAble;

    public HpetTimer Configure(ulong config)
    {
        HpetTimer next = this with { Config = config & Writable, HasFired = false };
        return next with { Comparator = Comparator & next.Mask, Period = Period & next.Mask };
    }

    /// <summary>
    /// Writes the comparator: a periodic timer takes it for its period, and for the comparator only after "value
    /// set".
    /// </summary>
    /// <param name="merge">Puts the written bytes in their place within the present value.</param>
    public HpetTimer Compare(Func<ulong, ulong> merge)
    {
        bool setsComparator = !IsPeriodic || (Config & ValueSet) != 0;
        ulong value = merge(setsComparator ? Comparator : Period) & Mask;
        return this with
        {
            Config = Config & ~ValueSet,
            Comparator = setsComparator ? value : Comparator,
            Period = IsPeriodic ? value : Period,
        };
    }

    /// <summary>
    /// Finds the next fire of a timer whose counter stands at a value at a tick. Equality now is a whole round away.
    /// </summary>
    public HpetTimer Arm(ulong counter, ulong tick)
    {
        ulong distance = Comparator - counter & Mask;
        return this with { NextFire = distance != 0 ? Add(tick, distance) : Add(tick, Round) };
    }

    public HpetTimer Disarm() => this with { NextFire = Oscillator.Never };

    /// <summary>Passes all fires up to a tick at or after <see cref="NextFire"/>.</summary>
    public HpetTimer Pass(ulong tick)
    {
        bool repeats = IsPeriodic && Period != 0;
        ulong step = repeats ? Period : Round;
        if (step == Oscillator.Never) return Disarm();
        ulong steps = (tick - NextFire) / step;   // beyond the first
        return this with
        {
            NextFire = Add(Add(NextFire, steps * step), step),
            Comparator = repeats ? Comparator + steps * step + step & Mask : Comparator,
        };
    }

    // Ticks until a counter of this width comes round; 64 bits never do.
    ulong Round => Mask == uint.MaxValue ? 1UL << 32 : Oscillator.Never;

    static ulong Add(ulong tick, ulong ticks) => tick > Oscillator.Never - ticks ? Oscillator.Never : tick + ticks;
}
