using CsCheck;

namespace VmLab.Devices.Tests;

public sealed class OscillatorTests
{
    static readonly Gen<Oscillator> s_crystals = Gen.ULong[1, 1_000_000_000].Select(hertz => new Oscillator(hertz));

    [Test]
    public void Ticks_are_the_exact_quotient_at_any_time() =>
        Gen.Select(s_crystals, Gen.ULong[0, 1UL << 60]).Sample((crystal, time) =>
            crystal.TicksAt(time) == (ulong)((UInt128)time * crystal.Hertz / 1_000_000_000));

    [Test]
    public void Time_of_a_tick_is_the_first_nanosecond_that_shows_it() =>
        Gen.Select(s_crystals, Gen.ULong[1, 1UL << 32]).Sample((crystal, tick) =>
            crystal.TimeOf(tick) is var time && (time == Oscillator.Never
                || crystal.TicksAt(time) == tick && crystal.TicksAt(time - 1) == tick - 1));

    [Test]
    public void A_tick_beyond_the_end_of_time_never_comes() =>
        Assert.That(new Oscillator(1).TimeOf(ulong.MaxValue), Is.EqualTo(Oscillator.Never));
}
