using VmLab.Core;

namespace VmLab.Devices;

/// <summary>
/// The high-precision event timer: a 64-bit counter at 100 MHz, and three comparators that interrupt.
/// </summary>
/// <remarks>
/// 1 KiB of memory. Simplified: no message-signalled interrupts; the line of an edge-triggered timer stays high after
/// its first interrupt and shows each further one by a fall and a rise; fires that nobody waited for are one.
/// Source: IA-PC HPET Specification 1.0a (October 2004), §2.3.
/// </remarks>
public sealed class Hpet : IMmioDevice, ITimed, ISnapshot<Hpet.State>, IDrivesLines
{
    /// <param name="Base">
    /// The counter while it stands still; while it runs, what it is ahead of the clock's ticks.
    /// </param>
    /// <param name="Status">Level-triggered timers that interrupt, as bits.</param>
    [Schema("hpet", version: 1)]
    public record struct State(ulong Config, ulong Base, uint Status, Values<HpetTimer> Timers);

    public const ulong Hertz = 100_000_000, PeriodFemtoseconds = 10_000_000;

    /// <summary>I/O APIC pins that timers may be routed to.</summary>
    public const int FirstRoute = 20, RouteCount = 4;

    const int TimerCount = 3;
    const ulong Capabilities = 0x000, Configuration = 0x010, InterruptStatus = 0x020, Counter = 0x0F0,
                FirstTimer = 0x100, TimerStride = 0x20, TimerConfig = 0x00, TimerComparator = 0x08;
    // Three timers, 64 bits, legacy replacement.
    const ulong CapabilitiesValue = PeriodFemtoseconds << 32 | 0x8086_A201;
    const ulong Enable = 1, LegacyReplacement = 2;
    const uint Routes = (1U << RouteCount) - 1 << FirstRoute;

    static readonly Oscillator s_crystal = new(Hertz);

    readonly IClock _clock;
    readonly IrqLine _timer, _rtc;
    readonly IReadOnlyList<IrqLine> _routes;
    ulong _nextFire = Oscillator.Never;   // of any timer, in ticks
    State _state = new() { Timers = Values.Repeat(HpetTimer.PowerOn, TimerCount) };

    /// <param name="timer">Interrupt 0, which timer 0 takes over in legacy replacement.</param>
    /// <param name="rtc">Interrupt 8, which timer 1 takes over in legacy replacement.</param>
    /// <param name="routes">The four I/O APIC pins from <see cref="FirstRoute"/> on.</param>
    public Hpet(IClock clock, IrqLine timer, IrqLine rtc, IReadOnlyList<IrqLine> routes)
    {
        _clock = clock;
        _timer = timer;
        _rtc = rtc;
        _routes = routes;
    }

    public ulong NextDeadline { get; private set; } = Oscillator.Never;

    /// <summary>
    /// Whether timers 0 and 1 stand for the 8254 and the clock chip, whose own interrupts 0 and 8 are then cut off.
    /// </summary>
    public bool ReplacesLegacy => (_state.Config & LegacyReplacement) != 0;

    bool IsRunning => (_state.Config & Enable) != 0;

    ulong Tick => s_crystal.TicksAt(_clock.Now);

    ulong CounterNow => IsRunning ? Tick + _state.Base : _state.Base;

    public ulong Read(ulong offset, int width)
    {
        Advance();
        ulong register = (offset & ~7UL) switch
        {
            Capabilities => CapabilitiesValue,
            Configuration => _state.Config,
            InterruptStatus => _state.Status,
            Counter => CounterNow,
            _ => ReadTimer(offset & ~7UL),
        };
        return register >> (int)(offset & 7) * 8;
    }

    public void Write(ulong offset, int width, ulong value)
    {
        if (width < 4 || (offset & (ulong)width - 1) != 0) return;
        Advance();
        int shift = (int)(offset & 7) * 8;
        ulong mask = (width == 8 ? ulong.MaxValue : uint.MaxValue) << shift;
        switch (offset & ~7UL)
        {
            case Configuration: Configure(Merge(_state.Config) & (Enable | LegacyReplacement)); break;
            case InterruptStatus: _state.Status &= ~(uint)(value << shift); break;
            case Counter: SetCounter(Merge(CounterNow)); break;
            default: WriteTimer(offset & ~7UL, Merge); break;
        }
        Drive();

        ulong Merge(ulong old) => old & ~mask | value << shift & mask;
    }

    public void Advance()
    {
        ulong tick = Tick;
        if (tick < _nextFire) return;
        bool hasFired = false;
        for (int i = 0; i < TimerCount; i++)
        {
            HpetTimer timer = _state.Timers[i];
            if (timer.NextFire > tick) continue;
            SetTimer(i, timer.Pass(tick));
            if (timer.IsEnabled) Fire(i);
            hasFired = true;
        }
        if (hasFired) Drive();
    }

    public State Save() => _state;

    public void Restore(State state)
    {
        _state = state;
        FindNextFire();
        FindDeadline();
    }

    public void RestoreLines()
    {
        _timer.SetSilently(LevelOf(_timer));
        _rtc.SetSilently(LevelOf(_rtc));
        foreach (IrqLine line in _routes) line.SetSilently(LevelOf(line));
    }

    void SetTimer(int index, HpetTimer timer)
    {
        _state.Timers = _state.Timers.With(index, timer);
        FindNextFire();
    }

    void FindNextFire()
    {
        _nextFire = Oscillator.Never;
        foreach (HpetTimer timer in _state.Timers.Span) _nextFire = Math.Min(_nextFire, timer.NextFire);
    }

    /// <summary>The line that a timer drives, or <see langword="null"/> when its route leads nowhere.</summary>
    IrqLine? LineOf(int index)
    {
        if (ReplacesLegacy && index < 2) return index == 0 ? _timer : _rtc;
        int route = _state.Timers[index].Route - FirstRoute;
        return route is >= 0 and < RouteCount ? _routes[route] : null;
    }

    void Fire(int index)
    {
        HpetTimer timer = _state.Timers[index];
        if (timer.IsLevel)
        {
            _state.Status |= 1U << index;
            return;
        }
        if (timer.HasFired) LineOf(index)?.Set(false);
        SetTimer(index, timer with { HasFired = true });
    }

    bool LevelOf(IrqLine line)
    {
        for (int i = 0; i < TimerCount; i++)
        {
            HpetTimer timer = _state.Timers[i];
            bool isHigh = timer.IsLevel ? (_state.Status >> i & 1) != 0 : timer.HasFired;
            if (isHigh && IsRunning && timer.IsEnabled && LineOf(i) == line) return true;
        }
        return false;
    }

    void Drive()
    {
        FindDeadline();
        _timer.Set(LevelOf(_timer));
        _rtc.Set(LevelOf(_rtc));
        foreach (IrqLine line in _routes) line.Set(LevelOf(line));
    }

    // A level-triggered timer that interrupts already changes nothing by firing again.
    void FindDeadline()
    {
        ulong fire = Oscillator.Never;
        for (int i = 0; i < TimerCount; i++)
        {
            HpetTimer timer = _state.Timers[i];
            bool interruptsAlready = timer.IsLevel && (_state.Status >> i & 1) != 0;
            if (timer.IsEnabled && !interruptsAlready) fire = Math.Min(fire, timer.NextFire);
        }
        NextDeadline = fire == Oscillator.Never ? fire : s_crystal.TimeOf(fire);
    }

    void Configure(ulong config)
    {
        ulong counter = CounterNow;
        _state.Config = config;
        SetCounter(counter);
    }

    void SetCounter(ulong value)
    {
        _state.Base = IsRunning ? value - Tick : value;
        for (int i = 0; i < TimerCount; i++) SetTimer(i, Armed(_state.Timers[i]));
    }

    HpetTimer Armed(HpetTimer timer) => IsRunning ? timer.Arm(CounterNow, Tick) : timer.Disarm();

    ulong ReadTimer(ulong offset) => Locate(offset, out int index) switch
    {
        TimerConfig => _state.Timers[index].ConfigWith(Routes),
        TimerComparator => _state.Timers[index].Comparator,
        _ => 0,
    };

    void WriteTimer(ulong offset, Func<ulong, ulong> merge)
    {
        ulong register = Locate(offset, out int index);
        if (register == TimerConfig)
        {
            SetTimer(index, Armed(_state.Timers[index].Configure(merge(_state.Timers[index].Config))));
            if (!_state.Timers[index].IsLevel) _state.Status &= ~(1U << index);
        }
        else if (register == TimerComparator)
        {
            SetTimer(index, Armed(_state.Timers[index].Compare(merge)));
        }
    }

    /// <summary>Finds a timer and the register in it; all ones for what lies outside.</summary>
    static ulong Locate(ulong offset, out int index)
    {
        ulong inside = offset - FirstTimer;
        bool isTimer = offset >= FirstTimer && inside < TimerCount * TimerStride;
        index = isTimer ? (int)(inside / TimerStride) : 0;
        return isTimer ? inside % TimerStride : ulong.MaxValue;
    }
}
