using CsCheck;
using VmLab.Core;

namespace VmLab.Devices.Tests;

public sealed class Pit8254Tests
{
    const int Zero = 0, Two = 2, ControlWord = 3;
    const ulong Second = 1_000_000_000;

    readonly VirtualClock _clock = new();
    readonly IrqLine _irq;
    readonly Pit8254 _pit;
    readonly SystemControlPort _port61;
    int _rises;

    public Pit8254Tests()
    {
        _irq = new IrqLine(high => _rises += high ? 1 : 0);
        _pit = new Pit8254(_clock, _irq);
        _port61 = new SystemControlPort(_clock, _pit);
    }

    [Test]
    public void Rate_generator_rises_once_a_period()
    {
        Program(Zero, 0x34, 11932);
        _rises = 0;

        RunTo(Second);

        Assert.That(_rises, Is.EqualTo(1_193_182 / 11932));
    }

    [Test]
    public void Rate_generator_is_due_at_the_exact_nanosecond()
    {
        Program(Zero, 0x34, 11932);
        Assert.That(_pit.NextDeadline, Is.EqualTo(TimeOf(1 + 11932)), "loaded with the next clock, then a period");

        _clock.Now = _pit.NextDeadline;
        _pit.Advance();
        Assert.That(_pit.NextDeadline, Is.EqualTo(TimeOf(1 + 2 * 11932)));
    }

    [Test]
    public void Periods_that_nobody_waited_for_are_one_edge()
    {
        Program(Zero, 0x34, 11932);
        _rises = 0;

        _clock.Now = 10 * 3600 * Second;
        _pit.Advance();

        Assert.That(_rises, Is.EqualTo(1));
        Assert.That(_pit.NextDeadline, Is.InRange(_clock.Now + 1, _clock.Now + 10_000_000));
    }

    [Test]
    public void A_count_written_while_another_runs_waits_for_the_end_of_the_period()
    {
        Program(Zero, 0x34, 10_000);
        _clock.Now = TimeOf(5_000);
        Load(Zero, 2_000);

        Assert.That(_pit.NextDeadline, Is.EqualTo(TimeOf(10_001)));
        _clock.Now = _pit.NextDeadline;
        _pit.Advance();
        Assert.That(_pit.NextDeadline, Is.EqualTo(TimeOf(12_001)));
    }

    [Test]
    public void Terminal_count_raises_the_line_once_and_a_control_word_lowers_it()
    {
        Program(Zero, 0x30, 100);
        Assert.That(_irq.IsHigh, Is.False);

        RunTo(Second);
        Assert.That((_irq.IsHigh, _rises, _pit.NextDeadline), Is.EqualTo((true, 1, Oscillator.Never)));

        _pit.Write(ControlWord, 0x30);
        Assert.That(_irq.IsHigh, Is.False);
    }

    [Test]
    public void Software_strobe_rises_one_clock_after_the_count_and_once_only()
    {
        Program(Zero, 0x38, 100);
        _rises = 0;
        Assert.That(_pit.NextDeadline, Is.EqualTo(TimeOf(1 + 100 + 1)));

        RunTo(Second);
        Assert.That(_rises, Is.EqualTo(1));

        Load(Zero, 100);
        RunTo(2 * Second);
        Assert.That(_rises, Is.EqualTo(2));
    }

    [Test]
    public void Zero_counts_as_65536()
    {
        Program(Zero, 0x34, 0);
        Assert.That(_pit.NextDeadline, Is.EqualTo(TimeOf(1 + 65_536)));
    }

    [Test]
    public void Latched_count_stands_still_until_both_bytes_are_read()
    {
        Program(Zero, 0x34, 0x1234);
        _clock.Now = TimeOf(1 + 0x34);
        _pit.Write(ControlWord, 0x00);
        _clock.Now = TimeOf(1 + 0x100);

        Assert.That(ReadCount(Zero), Is.EqualTo(0x1200));
        Assert.That(ReadCount(Zero), Is.EqualTo(0x1134));
    }

    [Test]
    public void Square_wave_counts_by_two_and_halves_its_period()
    {
        _pit.GateTwo = true;
        Program(Two, 0xB6, 1000);

        _clock.Now = TimeOf(1 + 100);
        Assert.That((ReadCount(Two), _pit.IsOutputTwoHigh), Is.EqualTo((800, true)));
        _clock.Now = TimeOf(1 + 600);
        Assert.That((ReadCount(Two), _pit.IsOutputTwoHigh), Is.EqualTo((800, false)));
    }

    [Test]
    public void Square_wave_of_an_odd_count_is_high_a_clock_longer()
    {
        _pit.GateTwo = true;
        Program(Two, 0xB6, 5);

        bool[] levels = [.. Enumerable.Range(1, 10).Select(tick =>
        {
            _clock.Now = TimeOf((ulong)tick);
            return _pit.IsOutputTwoHigh;
        })];

        Assert.That(levels, Is.EqualTo([true, true, true, false, false, true, true, true, false, false]));
    }

    [Test]
    public void Read_back_latches_status_before_count()
    {
        Program(Zero, 0x34, 0x1000);
        _clock.Now = TimeOf(1 + 0x10);

        _pit.Write(ControlWord, 0xC2);

        Assert.That(_pit.Read(Zero), Is.EqualTo(0xB4), "OUT high, count loaded, both bytes, mode 2");
        Assert.That(ReadCount(Zero), Is.EqualTo(0x0FF0));
    }

    [Test]
    public void Status_tells_that_no_count_is_loaded_yet()
    {
        _pit.Write(ControlWord, 0x30);
        _pit.Write(ControlWord, 0xE2);
        Assert.That(_pit.Read(Zero), Is.EqualTo(0x70));
    }

    [Test]
    public void Decimal_counter_counts_in_decimal()
    {
        Program(Zero, 0x31, 0x1000);
        _clock.Now = TimeOf(1 + 1);
        Assert.That(ReadCount(Zero), Is.EqualTo(0x0999));
    }

    [TestCase(0x90, 0x0080, TestName = "Low_byte_only")]
    [TestCase(0xA0, 0x8000, TestName = "High_byte_only")]
    public void One_byte_access_loads_the_count(int control, int count)
    {
        _pit.GateTwo = true;
        _pit.Write(ControlWord, (byte)control);
        _pit.Write(Two, 0x80);

        _clock.Now = TimeOf((ulong)count);
        Assert.That(_pit.IsOutputTwoHigh, Is.False);
        _clock.Now = TimeOf((ulong)count + 1);
        Assert.That(_pit.IsOutputTwoHigh, Is.True);
    }

    [Test]
    public void Low_gate_stops_the_count_and_a_high_one_goes_on()
    {
        _pit.GateTwo = true;
        Program(Two, 0xB0, 1000);
        _clock.Now = TimeOf(1 + 400);
        _pit.GateTwo = false;
        _clock.Now = TimeOf(100_000);
        Assert.That(ReadCount(Two), Is.EqualTo(600));

        _pit.GateTwo = true;
        _clock.Now = TimeOf(100_000 + 599);
        Assert.That(_pit.IsOutputTwoHigh, Is.False);
        _clock.Now = TimeOf(100_000 + 600);
        Assert.That(_pit.IsOutputTwoHigh, Is.True);
    }

    [Test]
    public void Rising_gate_triggers_the_one_shot()
    {
        Program(Two, 0xB2, 100);
        Assert.That(_pit.IsOutputTwoHigh, Is.True);

        _pit.GateTwo = true;
        _clock.Now = TimeOf(1);
        Assert.That(_pit.IsOutputTwoHigh, Is.False);
        _clock.Now = TimeOf(1 + 100);
        Assert.That(_pit.IsOutputTwoHigh, Is.True);
    }

    [Test]
    public void Rising_gate_triggers_the_hardware_strobe()
    {
        Program(Two, 0xBA, 100);
        _pit.GateTwo = true;
        _clock.Now = TimeOf(1 + 100);
        Assert.That(_pit.IsOutputTwoHigh, Is.False);
        _clock.Now = TimeOf(1 + 101);
        Assert.That(_pit.IsOutputTwoHigh, Is.True);
    }

    [Test]
    public void Port_61_opens_the_gate_and_reads_the_output()
    {
        _port61.Write(0, 0x01);
        Program(Two, 0xB0, 1000);
        Assert.That(_port61.Read(0) & 0x21, Is.EqualTo(0x01));

        _clock.Now = TimeOf(1001);
        Assert.That(_port61.Read(0) & 0x21, Is.EqualTo(0x21));
    }

    [Test]
    public void Port_61_toggles_the_refresh_bit()
    {
        int before = _port61.Read(0) & 0x10;
        _clock.Now += 15_085;
        Assert.That(_port61.Read(0) & 0x10, Is.Not.EqualTo(before));
    }

    [Test]
    public void Restored_pit_behaves_as_the_saved_one() => Laws.RestoredBehavesAsSaved(NewBench, Poke.Wild(4, 4, 1));

    [Test]
    public void Bears_anything() => Laws.BearsAnything(NewBench, Poke.Wild(4, 300, 1, 2, 4));

    [Test]
    public void Restored_port_61_behaves_as_the_saved_one()
    {
        _port61.Write(0, 0x02);
        var other = new SystemControlPort(_clock, _pit);
        other.Restore(_port61.Save());
        Assert.That(other.Read(0), Is.EqualTo(_port61.Read(0)));
    }

    static ulong TimeOf(ulong tick) => new Oscillator(Pit8254.Hertz).TimeOf(tick);

    void Program(int channel, byte control, ushort count)
    {
        _pit.Write(ControlWord, control);
        Load(channel, count);
    }

    void Load(int channel, ushort count)
    {
        _pit.Write(channel, (byte)count);
        _pit.Write(channel, (byte)(count >> 8));
    }

    int ReadCount(int channel) => _pit.Read(channel) | _pit.Read(channel) << 8;

    void RunTo(ulong end)
    {
        while (_pit.NextDeadline <= end)
        {
            _clock.Now = _pit.NextDeadline;
            _pit.Advance();
        }
        _clock.Now = end;
    }

    static Bench<Pit8254.State> NewBench()
    {
        var clock = new VirtualClock();
        var irq = new IrqLine();
        var pit = new Pit8254(clock, irq);
        IPortDevice port = pit;
        return new(pit, clock, Act, () => [irq.IsHigh ? 1UL : 0, pit.IsOutputTwoHigh ? 1UL : 0]);

        ulong Act(Poke poke)
        {
            if (poke.Kind == Poke.Read) return port.Read(poke.Offset, poke.Width);
            if (poke.Kind == Poke.Write) port.Write(poke.Offset, poke.Width, (uint)poke.Value);
            else pit.GateTwo = (poke.Value & 1) != 0;
            return 0;
        }
    }
}
