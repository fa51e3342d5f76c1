using CsCheck;
using VmLab.Core;

namespace VmLab.Devices.Tests;

public sealed class HpetTests
{
    const ulong Capabilities = 0x000, Configuration = 0x010, Status = 0x020, Counter = 0x0F0, Timer0 = 0x100,
                Timer1 = 0x120, Timer2 = 0x140, Comparator = 8;
    const ulong Level = 0x02, Enable = 0x04, Periodic = 0x08, ValueSet = 0x40, Narrow = 0x100, Route21 = 21 << 9;

    readonly VirtualClock _clock = new();
    readonly IrqLine _timer, _rtc = new();
    readonly IrqLine[] _routes = [.. Enumerable.Range(0, 4).Select(_ => new IrqLine())];
    readonly Hpet _hpet;
    int _rises;

    public HpetTests()
    {
        _timer = new IrqLine(high => _rises += high ? 1 : 0);
        _hpet = new Hpet(_clock, _timer, _rtc, _routes);
    }

    [Test]
    public void Capabilities_name_three_wide_timers_and_the_period() =>
        Assert.That(Read(Capabilities), Is.EqualTo(10_000_000UL << 32 | 0x8086A201));

    [Test]
    public void Counter_stands_until_it_is_enabled_and_then_counts_at_100_mhz()
    {
        _clock.Now = 1000;
        Assert.That(Read(Counter), Is.Zero);
        Write(Counter, 5);
        Write(Configuration, 1);
        _clock.Now += 1_000_000_000;
        Assert.That(Read(Counter), Is.EqualTo(100_000_005));

        Write(Configuration, 0);
        _clock.Now += 1_000;
        Assert.That(Read(Counter), Is.EqualTo(100_000_005));
    }

    [Test]
    public void Counter_is_read_and_written_by_halves()
    {
        _hpet.Write(Counter + 4, 4, 7);
        Assert.That((_hpet.Read(Counter + 4, 4), Read(Counter)), Is.EqualTo((7UL, 7UL << 32)));
    }

    [Test]
    public void One_shot_fires_when_the_counter_reaches_the_comparator()
    {
        Write(Configuration, 3);
        Write(Timer0, Enable);
        Write(Timer0 + Comparator, 500);
        Assert.That(_hpet.NextDeadline, Is.EqualTo(5000));

        RunTo(1_000_000);
        Assert.That((_rises, _timer.IsHigh, _hpet.NextDeadline), Is.EqualTo((1, true, Oscillator.Never)));
    }

    [Test]
    public void Each_edge_is_a_fall_and_a_rise()
    {
        Write(Configuration, 3);
        Write(Timer0, Enable);
        Write(Timer0 + Comparator, 500);
        RunTo(5000);
        Write(Timer0 + Comparator, 600);
        RunTo(6000);
        Assert.That(_rises, Is.EqualTo(2));
    }

    [Test]
    public void Narrow_one_shot_comes_again_when_the_counter_comes_round()
    {
        Write(Configuration, 3);
        Write(Timer0, Enable | Narrow);
        Write(Timer0 + Comparator, 500);
        RunTo(5000);
        Assert.That(_hpet.NextDeadline, Is.EqualTo(((1UL << 32) + 500) * 10));
    }

    [Test]
    public void Periodic_timer_is_set_up_as_linux_does_and_accumulates()
    {
        _clock.Now = 10_000;
        Write(Configuration, 3);
        Write(Timer0, Enable | Periodic | ValueSet | Narrow);
        Write(Timer0 + Comparator, 1_000);
        Write(Timer0 + Comparator, 100);
        Assert.That((Read(Timer0 + Comparator), _hpet.NextDeadline), Is.EqualTo((1_000UL, 20_000UL)));

        RunTo(25_500);
        Assert.That((_rises, Read(Timer0 + Comparator)), Is.EqualTo((6, 1_600UL)));
    }

    [Test]
    public void Periods_missed_for_hours_are_one_edge()
    {
        Write(Configuration, 3);
        Write(Timer0, Enable | Periodic | ValueSet);
        Write(Timer0 + Comparator, 100);
        _clock.Now = 36_000_000_000_500;
        _hpet.Advance();
        Assert.That((_rises, _hpet.NextDeadline), Is.EqualTo((1, 36_000_000_001_000UL)));
    }

    [Test]
    public void Level_triggered_timer_holds_its_line_until_its_status_is_cleared()
    {
        Write(Configuration, 1);
        Write(Timer2, Enable | Level | Route21);
        Write(Timer2 + Comparator, 500);
        RunTo(5000);
        Assert.That((_routes[1].IsHigh, Read(Status)), Is.EqualTo((true, 4UL)));

        Write(Status, 4);
        Assert.That((_routes[1].IsHigh, Read(Status)), Is.EqualTo((false, 0UL)));
    }

    [Test]
    public void Legacy_replacement_routes_timers_0_and_1_to_interrupts_0_and_8()
    {
        Write(Configuration, 3);
        Write(Timer1, Enable | Route21);
        Write(Timer1 + Comparator, 500);
        RunTo(5000);
        Assert.That((_hpet.ReplacesLegacy, _rtc.IsHigh, _routes[1].IsHigh), Is.EqualTo((true, true, false)));
    }

    [Test]
    public void Disabled_timer_interrupts_nobody()
    {
        Write(Configuration, 3);
        Write(Timer0 + Comparator, 500);
        Assert.That(_hpet.NextDeadline, Is.EqualTo(Oscillator.Never));
        RunTo(10_000);
        Write(Timer0, Enable);
        Assert.That(_rises, Is.Zero);
    }

    [Test]
    public void Timer_configuration_tells_its_abilities_and_routes()
    {
        Write(Timer0, ulong.MaxValue);
        Assert.That(Read(Timer0), Is.EqualTo(0x00F0_0000_0000_3F3E));
    }

    [Test]
    public void Restored_timer_behaves_as_the_saved_one() =>
        Laws.RestoredBehavesAsSaved(NewBench, Poke.Wild(4, 16, 4, 8));

    [Test]
    public void Bears_anything() => Laws.BearsAnything(NewBench, Poke.Wild(4, 300, 1, 2, 4, 8));

    ulong Read(ulong offset) => _hpet.Read(offset, 8);
    void Write(ulong offset, ulong value) => _hpet.Write(offset, 8, value);

    void RunTo(ulong end)
    {
        while (_hpet.NextDeadline <= end)
        {
            _clock.Now = _hpet.NextDeadline;
            _hpet.Advance();
        }
        _clock.Now = end;
    }

    static Bench<Hpet.State> NewBench()
    {
        var clock = new VirtualClock();
        IrqLine[] lines = [.. Enumerable.Range(0, 6).Select(_ => new IrqLine())];
        var hpet = new Hpet(clock, lines[0], lines[1], lines[2..]);
        ulong[] registers =
            [Configuration, Status, Counter, Timer0, Timer0 + 8, Timer1, Timer1 + 8, Timer2, Timer2 + 8];
        return new(hpet, clock, Act, () => lines.Select(line => line.IsHigh ? 1UL : 0));

        // Kind 3 switches on and makes sure that something may fire.
        ulong Act(Poke poke)
        {
            ulong offset = poke.Offset < registers.Length ? registers[poke.Offset] : (ulong)poke.Offset * 4;
            if (poke.Kind == Poke.Read) return hpet.Read(offset, poke.Width);
            if (poke.Kind == 3) hpet.Write(Configuration, 4, 1 | poke.Value & 2);
            hpet.Write(offset, poke.Width, poke.Kind == 3 ? poke.Value | Enable : poke.Value);
            return 0;
        }
    }
}
