using CsCheck;
using VmLab.Core;

namespace VmLab.Devices.Tests;

public sealed class AcpiPmTests
{
    const int Status = 0, Enable = 2, Control = 4, Timer = 8;
    const byte SoftOff = 5;

    readonly VirtualClock _clock = new();
    readonly IrqLine _sci = new();
    readonly IPortDevice _port;
    readonly AcpiPm _pm;
    int _powerOffs;

    public AcpiPmTests() => _port = _pm = new AcpiPm(_clock, _sci, () => _powerOffs++, SoftOff);

    [Test]
    public void Timer_counts_3579545_a_second()
    {
        _clock.Now = 1_000_000_000;
        Assert.That(_port.Read(Timer, 4), Is.EqualTo(3_579_545));
        _clock.Now = 3600UL * 1_000_000_000;
        Assert.That(_port.Read(Timer, 4), Is.EqualTo(3600UL * 3_579_545 & 0xFFFF_FFFF));
    }

    [Test]
    public void Narrow_timer_has_24_bits()
    {
        IPortDevice narrow = new AcpiPm(_clock, _sci, () => { }, SoftOff, isTimerWide: false);
        _clock.Now = 1_000_000_000UL * 3600;
        Assert.That(narrow.Read(Timer, 4), Is.EqualTo(3600UL * 3_579_545 & 0xFF_FFFF));
    }

    [Test]
    public void Change_of_the_highest_timer_bit_interrupts_when_enabled()
    {
        _port.Write(Enable, 2, 0x0001);
        ulong first = new Oscillator(AcpiPm.TimerHertz).TimeOf(1UL << 31);
        Assert.That(_pm.NextDeadline, Is.EqualTo(first));

        _clock.Now = first;
        _pm.Advance();
        Assert.That((_sci.IsHigh, _port.Read(Status, 2)), Is.EqualTo((true, 1u)));

        _port.Write(Status, 2, 0x0001);
        Assert.That((_sci.IsHigh, _port.Read(Status, 2)), Is.EqualTo((false, 0u)));
        Assert.That(_pm.NextDeadline, Is.EqualTo(new Oscillator(AcpiPm.TimerHertz).TimeOf(2UL << 31)));
    }

    [Test]
    public void Power_button_interrupts_until_its_status_is_cleared()
    {
        _port.Write(Enable, 2, 0x0100);
        _pm.PressPowerButton();
        Assert.That((_sci.IsHigh, _port.Read(Status, 2)), Is.EqualTo((true, 0x0100u)));

        _port.Write(Status + 1, 1, 0x01);
        Assert.That(_sci.IsHigh, Is.False);
    }

    [Test]
    public void Power_button_waits_for_its_enable()
    {
        _pm.PressPowerButton();
        Assert.That(_sci.IsHigh, Is.False);
        _port.Write(Enable, 2, 0x0100);
        Assert.That(_sci.IsHigh, Is.True);
    }

    [Test]
    public void Is_in_acpi_mode_from_the_start() => Assert.That(_port.Read(Control, 2), Is.EqualTo(1));

    [TestCase(SoftOff, 1)]
    [TestCase(0, 0)]
    public void Sleep_enable_with_the_right_type_switches_off(byte type, int powerOffs)
    {
        _port.Write(Control, 2, (uint)(type << 10 | 0x2000));
        Assert.That(_powerOffs, Is.EqualTo(powerOffs));
        Assert.That(_port.Read(Control, 2), Is.EqualTo(type << 10 | 1), "sleep enable reads as zero");
    }

    [TestCase(0x06, ResetKind.Hard)]
    [TestCase(0x0E, ResetKind.Full)]
    [TestCase(0x04, ResetKind.Soft)]
    public void Reset_register_resets_on_the_rise_of_its_go_bit(byte value, ResetKind kind)
    {
        var resets = new List<ResetKind>();
        var register = new ResetRegister(resets.Add);
        register.Write(0, (byte)(value & ~4));
        Assert.That(resets, Is.Empty);
        register.Write(0, value);
        register.Write(0, value);
        Assert.That(resets, Is.EqualTo([kind]));
    }

    [Test]
    public void Restored_block_behaves_as_the_saved_one() =>
        Laws.RestoredBehavesAsSaved(NewBench, Poke.Wild(4, 12, 1, 2, 4));

    [Test]
    public void Bears_anything() => Laws.BearsAnything(NewBench, Poke.Wild(4, 300, 1, 2, 4));

    [Test]
    public void Restored_reset_register_behaves_as_the_saved_one() =>
        Laws.RestoredBehavesAsSaved(NewResetBench, Poke.Wild(2, 2, 1));

    static Bench<AcpiPm.State> NewBench()
    {
        var clock = new VirtualClock();
        var sci = new IrqLine();
        var pm = new AcpiPm(clock, sci, () => { }, SoftOff, isTimerWide: false);
        IPortDevice port = pm;
        return new(pm, clock, Act, () => [sci.IsHigh ? 1UL : 0]);

        ulong Act(Poke poke)
        {
            if (poke.Kind == Poke.Read) return port.Read(poke.Offset, poke.Width);
            if (poke.Kind == Poke.Write) port.Write(poke.Offset, poke.Width, (uint)poke.Value);
            else pm.PressPowerButton();
            return 0;
        }
    }

    static Bench<ResetRegister.State> NewResetBench()
    {
        ulong resets = 0;
        var register = new ResetRegister(kind => resets = 1 + (ulong)kind);
        return new(register, new VirtualClock(), Act, () => []);

        ulong Act(Poke poke)
        {
            resets = 0;
            if (poke.Kind == Poke.Read) return register.Read(poke.Offset);
            register.Write(poke.Offset, (byte)poke.Value);
            return resets;
        }
    }
}
