using CsCheck;
using VmLab.Core;

namespace VmLab.Devices.Tests;

public sealed class LocalApicTests
{
    const ulong Identifier = 0x20, Version = 0x30, TaskPriority = 0x80, ProcessorPriority = 0xA0,
                EndOfInterrupt = 0xB0, LogicalDestination = 0xD0, Spurious = 0xF0, InService = 0x100,
                LevelTriggered = 0x180, Requested = 0x200, ErrorStatus = 0x280, CommandLow = 0x300,
                CommandHigh = 0x310, TimerVector = 0x320, Lint0 = 0x350, Lint1 = 0x360, ErrorVector = 0x370,
                InitialCount = 0x380, CurrentCount = 0x390, Divide = 0x3E0;
    const ulong DivideByOne = 0xB, Masked = 0x10000, Periodic = 0x20000, DeadlineMode = 0x40000;
    const ulong BaseX2 = 0xFEE00D00, BaseOn = 0xFEE00900, BaseOff = 0xFEE00100;

    readonly VirtualClock _clock = new();
    readonly ApicBus _bus = new();
    readonly Pic8259Pair _pic = new();
    readonly LocalApic _apic;
    int _nmis, _inits;

    public LocalApicTests()
    {
        _apic = new LocalApic(0, _clock, _bus, _pic) { NmiRaised = () => _nmis++, InitRaised = () => _inits++ };
        _apic.Write(Spurious, 4, 0x1FF);
    }

    [Test]
    public void Highest_vector_is_served_first_and_the_rest_after_its_end()
    {
        Send(0x31);
        Send(0x52);
        Assert.That(_apic.Acknowledge(), Is.EqualTo(0x52));
        Assert.That(_apic.IsRequested, Is.False);
        Assert.That(Read(InService + 0x20), Is.EqualTo(1 << 0x12));

        Write(EndOfInterrupt, 0);
        Assert.That(_apic.Acknowledge(), Is.EqualTo(0x31));
    }

    [Test]
    public void Task_priority_holds_back_its_class_and_those_below()
    {
        Send(0x45);
        _apic.Priority = 4;
        Assert.That(
            (_apic.IsRequested, Read(TaskPriority), Read(ProcessorPriority)), Is.EqualTo((false, 0x40UL, 0x40UL)));

        _apic.Priority = 3;
        Assert.That(_apic.IsRequested, Is.True);
    }

    [Test]
    public void Processor_priority_follows_the_interrupt_in_service()
    {
        Send(0x52);
        _apic.Acknowledge();
        Assert.That(Read(ProcessorPriority), Is.EqualTo(0x50));

        Send(0x5F);
        Assert.That(_apic.IsRequested, Is.False, "same class");
        Send(0x61);
        Assert.That(_apic.IsRequested, Is.True);
    }

    [Test]
    public void One_shot_timer_fires_once_at_the_exact_nanosecond()
    {
        Write(Divide, DivideByOne);
        Write(TimerVector, 0x40);
        Write(InitialCount, 1000);
        Assert.That(_apic.NextDeadline, Is.EqualTo(1000));

        _clock.Now = 999;
        _apic.Advance();
        Assert.That((_apic.IsRequested, Read(CurrentCount)), Is.EqualTo((false, 1UL)));
        _clock.Now = 1000;
        _apic.Advance();
        Assert.That((_apic.IsRequested, Read(CurrentCount)), Is.EqualTo((true, 0UL)));
        Assert.That(_apic.Acknowledge(), Is.EqualTo(0x40));
        Assert.That(_apic.NextDeadline, Is.EqualTo(Oscillator.Never));
    }

    [TestCase(0x0u, 2u)]
    [TestCase(0x1u, 4u)]
    [TestCase(0x2u, 8u)]
    [TestCase(0x3u, 16u)]
    [TestCase(0x8u, 32u)]
    [TestCase(0x9u, 64u)]
    [TestCase(0xAu, 128u)]
    [TestCase(0xBu, 1u)]
    public void Divide_configuration_slows_the_timer(uint code, uint divisor)
    {
        Write(Divide, code);
        Write(TimerVector, 0x40);
        Write(InitialCount, 1000);
        Assert.That(_apic.NextDeadline, Is.EqualTo(1000 * divisor));
    }

    [Test]
    public void Periodic_timer_goes_on_and_missed_periods_are_one_interrupt()
    {
        Write(Divide, DivideByOne);
        Write(TimerVector, 0x40 | Periodic);
        Write(InitialCount, 1000);

        _clock.Now = 3_600_000_000_500;
        _apic.Advance();

        Assert.That(_apic.Acknowledge(), Is.EqualTo(0x40));
        Assert.That((_apic.IsRequested, _apic.NextDeadline), Is.EqualTo((false, 3_600_000_001_000UL)));
        Assert.That(Read(CurrentCount), Is.EqualTo(500));
    }

    [Test]
    public void Periodic_timer_sets_no_deadline_while_its_interrupt_waits()
    {
        Write(Divide, DivideByOne);
        Write(TimerVector, 0x40 | Periodic);
        Write(InitialCount, 10);
        _clock.Now = 10;
        _apic.Advance();
        Assert.That(_apic.NextDeadline, Is.EqualTo(Oscillator.Never));

        _clock.Now = 1005;
        _apic.Acknowledge();
        Assert.That(_apic.NextDeadline, Is.EqualTo(1010));
    }

    [Test]
    public void Masked_timer_counts_but_raises_nothing()
    {
        Write(Divide, DivideByOne);
        Write(TimerVector, 0x40 | Masked);
        Write(InitialCount, 1000);
        Assert.That(_apic.NextDeadline, Is.EqualTo(Oscillator.Never));

        _clock.Now = 400;
        Assert.That(Read(CurrentCount), Is.EqualTo(600));
        _clock.Now = 2000;
        Write(TimerVector, 0x40);
        Assert.That((_apic.IsRequested, Read(CurrentCount)), Is.EqualTo((false, 0UL)));
    }

    [Test]
    public void Deadline_timer_fires_when_the_counter_reaches_it_and_disarms()
    {
        Write(TimerVector, 0x40 | DeadlineMode);
        _apic.TryWriteMsr(LocalApic.TscDeadlineMsr, 5000);
        Assert.That((_apic.NextDeadline, ReadMsr(LocalApic.TscDeadlineMsr)), Is.EqualTo((5000UL, 5000UL)));

        _clock.Now = 5000;
        _apic.Advance();
        Assert.That((_apic.IsRequested, ReadMsr(LocalApic.TscDeadlineMsr)), Is.EqualTo((true, 0UL)));
    }

    [Test]
    public void Deadline_in_the_past_fires_at_once()
    {
        _clock.Now = 5000;
        Write(TimerVector, 0x40 | DeadlineMode);
        _apic.TryWriteMsr(LocalApic.TscDeadlineMsr, 1);
        Assert.That(_apic.IsRequested, Is.True);
    }

    [Test]
    public void Deadline_is_in_the_units_of_the_time_stamp_counter()
    {
        var apic = new LocalApic(0, _clock, new ApicBus(), null, timeOfTsc: new Oscillator(2_000_000_000).TimeOf);
        apic.Write(Spurious, 4, 0x1FF);
        apic.Write(TimerVector, 4, 0x40 | DeadlineMode);
        apic.TryWriteMsr(LocalApic.TscDeadlineMsr, 5001);
        Assert.That(apic.NextDeadline, Is.EqualTo(2501));
    }

    [Test]
    public void Deadline_is_ignored_outside_its_mode_and_forgotten_on_leaving_it()
    {
        _apic.TryWriteMsr(LocalApic.TscDeadlineMsr, 5000);
        Assert.That(ReadMsr(LocalApic.TscDeadlineMsr), Is.Zero);

        Write(TimerVector, 0x40 | DeadlineMode);
        _apic.TryWriteMsr(LocalApic.TscDeadlineMsr, 5000);
        Write(TimerVector, 0x40);
        Assert.That(_apic.NextDeadline, Is.EqualTo(Oscillator.Never));
    }

    [TestCase(false, TestName = "Virtual_wire_after_power_on_lets_the_8259s_through")]
    [TestCase(true, TestName = "Globally_disabled_apic_lets_the_8259s_through")]
    public void The_8259s_come_through(bool isDisabled)
    {
        var apic = new LocalApic(0, _clock, new ApicBus(), _pic);
        apic.TryWriteMsr(LocalApic.ApicBaseMsr, isDisabled ? BaseOff : BaseOn);
        RaisePic();
        Assert.That(apic.IsRequested, Is.True);
        Assert.That(apic.Acknowledge(), Is.EqualTo(0x30));
    }

    [Test]
    public void Masked_lint0_shuts_the_8259s_out()
    {
        Write(Lint0, 0x700 | Masked);
        RaisePic();
        Assert.That(_apic.IsRequested, Is.False);

        Write(Lint0, 0x700);
        Assert.That(_apic.IsRequested, Is.True);
    }

    [Test]
    public void Own_interrupts_come_before_those_of_the_8259s()
    {
        RaisePic();
        Send(0x31);
        Assert.That((_apic.Acknowledge(), _apic.Acknowledge()), Is.EqualTo((0x31, 0x30)));
    }

    [Test]
    public void Lint1_is_the_nmi()
    {
        _apic.PulseLint1();
        Assert.That(_nmis, Is.EqualTo(1));
        Write(Lint1, 0x400 | Masked);
        _apic.PulseLint1();
        Assert.That(_nmis, Is.EqualTo(1));
    }

    [Test]
    public void Software_disable_masks_all_local_vectors_and_takes_no_interrupts()
    {
        Write(TimerVector, 0x40);
        Write(Spurious, 0xFF);
        Send(0x50);
        Assert.That((Read(TimerVector), _apic.IsRequested), Is.EqualTo((0x40 | Masked, false)));

        Write(TimerVector, 0x40);
        Assert.That(Read(TimerVector), Is.EqualTo(0x40 | Masked), "the mask cannot be opened");
    }

    [Test]
    public void Illegal_vector_sent_is_an_error_that_the_status_register_shows_once_written()
    {
        Write(ErrorVector, 0xFE);
        Write(CommandLow, 0x4000 | 5);
        Assert.That(_apic.Acknowledge(), Is.EqualTo(0xFE));
        Assert.That(Read(ErrorStatus), Is.Zero);

        Write(ErrorStatus, 0);
        Assert.That(Read(ErrorStatus), Is.EqualTo(0x20));
        Write(ErrorStatus, 0);
        Assert.That(Read(ErrorStatus), Is.Zero);
    }

    [Test]
    public void Illegal_error_vector_does_not_recurse()
    {
        Write(ErrorVector, 3);
        Write(CommandLow, 0x4000 | 5);
        Write(ErrorStatus, 0);
        Assert.That(Read(ErrorStatus), Is.EqualTo(0x60));
    }

    [Test]
    public void Command_to_oneself_by_shorthand_identifier_and_logical_address()
    {
        Write(CommandLow, 0x4_0000 | 0x51);
        Assert.That(_apic.Acknowledge(), Is.EqualTo(0x51));

        Write(CommandHigh, 0);
        Write(CommandLow, 0x62);
        Assert.That(_apic.Acknowledge(), Is.EqualTo(0x62));

        Write(LogicalDestination, 0x02000000);
        Write(CommandHigh, 0x03000000);
        Write(CommandLow, 0x800 | 0x73);
        Assert.That(_apic.Acknowledge(), Is.EqualTo(0x73));
    }

    [Test]
    public void Command_reaches_the_other_apic_only()
    {
        var other = new LocalApic(1, _clock, _bus, null);
        other.Write(Spurious, 4, 0x1FF);

        Write(CommandLow, 0xC_0000 | 0x51);

        Assert.That((_apic.IsRequested, other.IsRequested), Is.EqualTo((false, true)));
    }

    [Test]
    public void Init_and_start_up_reach_the_processor()
    {
        byte page = 0;
        _apic.StartUpReceived = vector => page = vector;
        Write(CommandLow, 0x500 | 0x4000);
        Assert.That(_inits, Is.EqualTo(1));
        Assert.That(Read(Spurious), Is.EqualTo(0xFF), "INIT resets the APIC");

        Write(CommandLow, 0x600 | 0x4000 | 0x9A);
        Assert.That(page, Is.EqualTo(0x9A));
    }

    [Test]
    public void End_of_a_level_triggered_interrupt_is_announced_and_of_an_edge_is_not()
    {
        _bus.Deliver(new ApicMessage(0, false, DeliveryMode.Fixed, 0x51, IsLevel: true));
        Assert.That(Read(LevelTriggered + 0x20), Is.EqualTo(1 << 0x11));
        Send(0x51);
        Assert.That(Read(LevelTriggered + 0x20), Is.Zero);
    }

    [Test]
    public void Msi_is_delivered_by_address_and_data()
    {
        Assert.That(_bus.DeliverMsi(0xFEE00000, 0x4055), Is.True);
        Assert.That(_apic.Acknowledge(), Is.EqualTo(0x55));
        Assert.That(_bus.DeliverMsi(0xFEE07000, 0x4055), Is.False, "nobody has identifier 7");
    }

    [Test]
    public void X2_mode_moves_the_registers_into_model_specific_ones()
    {
        Assert.That(_apic.TryReadMsr(0x802, out _), Is.False);

        Assert.That(_apic.TryWriteMsr(LocalApic.ApicBaseMsr, BaseX2), Is.True);

        Assert.That((ReadMsr(0x802), ReadMsr(0x803), ReadMsr(0x80D)), Is.EqualTo((0UL, 0x50014UL, 1UL)));
        Assert.That(Read(Version), Is.EqualTo(0xFFFF_FFFF));
        Assert.That(_apic.TryWriteMsr(0x83F, 0x77), Is.True, "self IPI");
        Assert.That(_apic.Acknowledge(), Is.EqualTo(0x77));
        Assert.That(_apic.TryWriteMsr(0x80B, 0), Is.True);
        Assert.That(ReadMsr(0x813), Is.Zero);
        Assert.That(_apic.TryWriteMsr(0x830, 0x4_0078), Is.True, "a 64-bit command");
        Assert.That(_apic.Acknowledge(), Is.EqualTo(0x78));
    }

    [TestCase(0x80Bu, 1UL, TestName = "End_of_interrupt_other_than_zero")]
    [TestCase(0x80Eu, 0UL, TestName = "Destination_format")]
    [TestCase(0x831u, 0UL, TestName = "High_half_of_the_command")]
    [TestCase(0x808u, 0x100UL, TestName = "Reserved_bits_of_task_priority")]
    [TestCase(0x802u, 0UL, TestName = "The_identifier")]
    [TestCase(0x8FFu, 0UL, TestName = "No_register")]
    [TestCase(0x1Bu, BaseOn, TestName = "Back_to_xapic")]
    [TestCase(0x1Bu, 1UL, TestName = "Reserved_bits_of_the_base")]
    public void X2_mode_refuses(uint msr, ulong value)
    {
        _apic.TryWriteMsr(LocalApic.ApicBaseMsr, BaseX2);
        Assert.That(_apic.TryWriteMsr(msr, value), Is.False);
    }

    [Test]
    public void Disabled_apic_forgets_and_comes_back_as_after_power_on()
    {
        Send(0x51);
        _apic.TryWriteMsr(LocalApic.ApicBaseMsr, BaseOff);
        Assert.That((_apic.IsRequested, Read(Identifier)), Is.EqualTo((false, 0xFFFF_FFFFUL)));
        Assert.That(_apic.TryWriteMsr(LocalApic.ApicBaseMsr, BaseX2), Is.False, "not from disabled to x2APIC at once");

        _apic.TryWriteMsr(LocalApic.ApicBaseMsr, BaseOn);
        Assert.That((Read(Spurious), Read(Requested + 0x20)), Is.EqualTo((0xFFUL, 0UL)));
    }

    [Test]
    public void Restored_apic_behaves_as_the_saved_one() => Laws.RestoredBehavesAsSaved(NewBench, Poke.Wild(7, 64, 4));

    [Test]
    public void Bears_anything() => Laws.BearsAnything(NewBench, Poke.Wild(7, 300, 1, 2, 4, 8));

    ulong Read(ulong register) => _apic.Read(register, 4) & 0xFFFF_FFFF;
    void Write(ulong register, ulong value) => _apic.Write(register, 4, value);
    void Send(byte vector) => _bus.Deliver(new ApicMessage(0, false, DeliveryMode.Fixed, vector));

    ulong ReadMsr(uint index)
    {
        _apic.TryReadMsr(index, out ulong value);
        return value;
    }

    void RaisePic()
    {
        _pic.Master.Write(0, 1, 0x11);
        foreach (uint word in (uint[])[0x30, 4, 1]) _pic.Master.Write(1, 1, word);
        _pic.SetInput(0, true);
    }

    static Bench<LocalApic.State> NewBench()
    {
        var clock = new VirtualClock();
        var bus = new ApicBus();
        ulong nmis = 0;
        var apic = new LocalApic(0, clock, bus, null) { NmiRaised = () => nmis++ };
        apic.Write(Spurious, 4, 0x1FF);
        return new(apic, clock, Act, () => [apic.IsRequested ? 1UL : 0]);

        ulong Act(Poke poke)
        {
            nmis = 0;
            ulong register = (ulong)poke.Offset << 4 | (poke.Width == 4 ? 0 : poke.Value & 0xF);
            uint msr = poke.Offset switch
            {
                0 => LocalApic.ApicBaseMsr,
                1 => LocalApic.TscDeadlineMsr,
                _ => 0x800U + (uint)poke.Offset,
            };
            ulong value = 0;
            switch (poke.Kind)
            {
                case Poke.Read: return apic.Read(register, poke.Width);
                case Poke.Write: apic.Write(register, poke.Width, poke.Value); break;
                case 3: return apic.TryReadMsr(msr, out value) ? value : ulong.MaxValue;
                case 4: return apic.TryWriteMsr(msr, poke.Value) ? 1UL : nmis;
                case 5: bus.DeliverMsi(0xFEE00000, (uint)poke.Value); break;
                case 6: return apic.IsRequested ? apic.Acknowledge() : value;
            }
            return nmis;
        }
    }
}
