using CsCheck;
using VmLab.Core;

namespace VmLab.Devices.Tests;

public sealed class CmosRtcTests
{
    const byte Second = 0, SecondAlarm = 1, Minute = 2, MinuteAlarm = 3, Hour = 4, HourAlarm = 5, Weekday = 6, Day = 7,
               Month = 8, Year = 9, A = 10, B = 11, C = 12, D = 13, Century = 0x32;
    const ulong OneSecond = 1_000_000_000;

    static readonly DateTimeOffset s_boot = new(2024, 2, 28, 23, 59, 58, TimeSpan.Zero);

    readonly VirtualClock _clock = new();
    readonly IrqLine _irq = new();
    readonly CmosRtc _rtc;

    public CmosRtcTests() => _rtc = new CmosRtc(_clock, _irq, s_boot);

    [Test]
    public void Shows_the_boot_date_in_decimal_digits()
    {
        Assert.That(Time(), Is.EqualTo((0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x58)));
        Assert.That((Read(Weekday), Read(D)), Is.EqualTo((4, 0x80)), "a Wednesday");
    }

    [Test]
    public void Goes_with_the_virtual_clock_over_a_leap_day()
    {
        _clock.Now = 2 * OneSecond;
        Assert.That(Time(), Is.EqualTo((0x20, 0x24, 0x02, 0x29, 0x00, 0x00, 0x00)));
    }

    [Test]
    public void Shows_binary_and_twelve_hours()
    {
        Write(B, 0x04);
        Assert.That((Read(Hour), Read(Minute)), Is.EqualTo((0x80 | 11, 59)));
    }

    [TestCase(0, 0x12)]
    [TestCase(1, 0x01)]
    [TestCase(12, 0x92)]
    [TestCase(13, 0x81)]
    public void Midnight_and_noon_are_twelve(int hour, int shown)
    {
        var rtc = new CmosRtc(_clock, _irq, new DateTimeOffset(2024, 1, 1, hour, 0, 0, TimeSpan.Zero));
        rtc.Write(0, B);
        rtc.Write(1, 0x00);
        rtc.Write(0, Hour);
        Assert.That(rtc.Read(1), Is.EqualTo(shown));
    }

    [Test]
    public void Stands_still_while_set_and_goes_on_from_what_was_written()
    {
        _clock.Now = OneSecond / 4;
        Write(B, 0x82);
        Write(Minute, 0x30);
        Write(Second, 0x10);
        _clock.Now = 100 * OneSecond + OneSecond / 4;
        Assert.That((Read(Minute), Read(Second)), Is.EqualTo((0x30, 0x10)));

        Write(B, 0x02);
        _clock.Now = 101 * OneSecond - 1;
        Assert.That(Read(Second), Is.EqualTo(0x10));
        _clock.Now = 101 * OneSecond;
        Assert.That(Read(Second), Is.EqualTo(0x11));
    }

    [Test]
    public void First_update_comes_half_a_second_after_the_divider_is_released()
    {
        Write(A, 0x66);
        _clock.Now = 10 * OneSecond;
        Write(A, 0x26);
        Assert.That(Read(Second), Is.EqualTo(0x58));
        _clock.Now += OneSecond / 2;
        Assert.That(Read(Second), Is.EqualTo(0x59));
    }

    [Test]
    public void Writing_a_running_clock_changes_that_unit_only()
    {
        Write(Hour, 0x05);
        Assert.That(Time(), Is.EqualTo((0x20, 0x24, 0x02, 0x28, 0x05, 0x59, 0x58)));
    }

    [Test]
    public void Update_in_progress_warns_before_each_second()
    {
        _clock.Now = OneSecond - 2_228_001;
        Assert.That(Read(A), Is.EqualTo(0x26));
        _clock.Now = OneSecond - 2_228_000;
        Assert.That(Read(A), Is.EqualTo(0xA6));
        _clock.Now = OneSecond;
        Assert.That(Read(A), Is.EqualTo(0x26));
    }

    [Test]
    public void Update_interrupt_comes_each_second_until_it_is_read()
    {
        Write(B, 0x12);
        Assert.That(_rtc.NextDeadline, Is.EqualTo(OneSecond));
        AdvanceTo(OneSecond);
        Assert.That((_irq.IsHigh, _rtc.NextDeadline), Is.EqualTo((true, Oscillator.Never)));

        _clock.Now = 5 * OneSecond + 7;
        Assert.That(Read(C) & 0x90, Is.EqualTo(0x90));
        Assert.That((_irq.IsHigh, _rtc.NextDeadline), Is.EqualTo((false, 6 * OneSecond)));
        Assert.That(Read(C), Is.Zero);
    }

    [Test]
    public void Periodic_interrupt_has_the_rate_of_register_a()
    {
        Write(A, 0x26);
        Write(B, 0x42);
        Assert.That(_rtc.NextDeadline, Is.EqualTo(976_563), "1024 a second, at the first nanosecond after");
        AdvanceTo(_rtc.NextDeadline);
        Assert.That(_irq.IsHigh, Is.True);
        Read(C);
        Assert.That(_rtc.NextDeadline, Is.EqualTo(1_953_125));
    }

    [TestCase(1, 3_906_250UL)]
    [TestCase(2, 7_812_500UL)]
    [TestCase(3, 122_071UL)]
    [TestCase(15, 500_000_000UL)]
    public void Rates_at_the_ends_of_the_table(byte rate, ulong period)
    {
        Write(A, (byte)(0x20 | rate));
        Write(B, 0x42);
        Assert.That(_rtc.NextDeadline, Is.EqualTo(period));
    }

    [Test]
    public void Periods_missed_for_hours_are_one_flag()
    {
        Write(B, 0x42);
        AdvanceTo(36_000 * OneSecond + 1);
        Assert.That(Read(C) & 0xC0, Is.EqualTo(0xC0));
        Assert.That(_rtc.NextDeadline, Is.InRange(_clock.Now, _clock.Now + 1_000_000));
    }

    [Test]
    public void Alarm_interrupts_at_its_time_of_day()
    {
        Write(HourAlarm, 0x00);
        Write(MinuteAlarm, 0x00);
        Write(SecondAlarm, 0x30);
        Write(B, 0x22);
        Assert.That(_rtc.NextDeadline, Is.EqualTo(32 * OneSecond));
        AdvanceTo(32 * OneSecond);
        Assert.That((_irq.IsHigh, Read(C)), Is.EqualTo((true, 0xF0)));
        Assert.That(_rtc.NextDeadline, Is.EqualTo((32 + 86_400) * OneSecond));
    }

    [Test]
    public void Alarm_with_don_t_cares_comes_every_minute()
    {
        Write(HourAlarm, 0xC0);
        Write(MinuteAlarm, 0xFF);
        Write(SecondAlarm, 0x00);
        Write(B, 0x22);
        Assert.That(_rtc.NextDeadline, Is.EqualTo(2 * OneSecond));
    }

    [Test]
    public void Alarm_that_no_time_matches_never_comes()
    {
        Write(HourAlarm, 0x99);
        Write(B, 0x22);
        Assert.That(_rtc.NextDeadline, Is.EqualTo(Oscillator.Never));
    }

    [Test]
    public void Bytes_beyond_the_clock_are_memory()
    {
        Write(0x40, 0xAB);
        Write(0x80 | 0x41, 0xCD);
        Assert.That((Read(0x40), Read(0x41)), Is.EqualTo((0xAB, 0xCD)));
    }

    [Test]
    public void Seconds_and_dates_agree_with_the_calendar() =>
        Gen.Long[-62_135_596_800, 253_402_300_799].Sample(seconds =>
        {
            var expected = DateTimeOffset.FromUnixTimeSeconds(seconds);
            RtcTime time = RtcTime.FromSeconds(seconds);
            return time == new RtcTime(
                    expected.Year, expected.Month, expected.Day, expected.Hour, expected.Minute, expected.Second)
                && time.ToSeconds() == seconds && RtcTime.WeekdayOf(seconds) == (int)expected.DayOfWeek + 1;
        });

    [Test]
    public void Next_alarm_is_the_first_match() =>
        Gen.Select(Gen.Long[0, 1L << 32], Gen.Int[0, 23], Gen.Int[0, 59], Gen.Int[0, 59]).Sample((after, hour, minute,
            second) =>
        {
            long match = RtcTime.NextMatch(after, hour, minute, second);
            return match > after && match <= after + 86_400 && match % 86_400 == hour * 3600 + minute * 60 + second;
        });

    [Test]
    public void Restored_clock_behaves_as_the_saved_one() => Laws.RestoredBehavesAsSaved(NewBench, Poke.Wild(5, 14, 1));

    [Test]
    public void Bears_anything() => Laws.BearsAnything(NewBench, Poke.Wild(5, 300, 1, 2, 4));

    (int, int, int, int, int, int, int) Time() =>
        (Read(Century), Read(Year), Read(Month), Read(Day), Read(Hour), Read(Minute), Read(Second));

    int Read(byte index)
    {
        _rtc.Write(0, index);
        return _rtc.Read(1);
    }

    void Write(byte index, byte value)
    {
        _rtc.Write(0, index);
        _rtc.Write(1, value);
    }

    void AdvanceTo(ulong time)
    {
        _clock.Now = time;
        _rtc.Advance();
    }

    static Bench<CmosRtc.State> NewBench()
    {
        var clock = new VirtualClock();
        var irq = new IrqLine();
        var rtc = new CmosRtc(clock, irq, s_boot);
        IPortDevice port = rtc;
        return new(rtc, clock, Act, () => [irq.IsHigh ? 1UL : 0]);

        // Kinds 3 and 4 reach a register in one go.
        ulong Act(Poke poke)
        {
            if (poke.Kind >= 3) rtc.Write(0, (byte)poke.Offset);
            int offset = poke.Kind >= 3 ? 1 : poke.Offset;
            if (poke.Kind is Poke.Read or 3) return port.Read(offset, poke.Width);
            port.Write(offset, poke.Width, (uint)poke.Value);
            return 0;
        }
    }
}
