using Iced.Intel;
using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Faults;
using VmLab.Machines;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Tests;

/// <summary>Faults of one machine: each really changes what the guest sees, exactly when it is due.</summary>
public sealed class FaultTests
{
    const ulong Cell = 0x20_0000;

    /// <summary>Counts in RBX, prints a letter of the counter now and then, keeps the time-stamp counter in RAM.</summary>
    static readonly Fleet s_fleet = Fleet.Define("faulty").Seed(11)
        .Vm("a", out s_a, vm => vm.Memory(4.MiB).Boot(Guest.Program(Count)))
        .Vm("b", out s_b, vm => vm.Memory(4.MiB).Boot(Guest.Program(Count)));

    static readonly VmRef s_a, s_b;

    [Test]
    public void A_register_is_flipped_at_its_time_exactly() => Run(async lab =>
    {
        await using Lab plain = await lab.Fork();
        lab.Inject(Fault.Cpu(s_a).FlipRegister(register: 13, bit: 5).At(TimeSpan.FromTicks(12_345)));

        await plain.RunFor(TimeSpan.FromTicks(12_345));
        await lab.RunFor(TimeSpan.FromTicks(12_345));

        Assert.That(lab[s_a].Cpu.R13 ^ plain[s_a].Cpu.R13, Is.EqualTo(1UL << 5));
        Assert.That(lab[s_a].Cpu.Rip, Is.EqualTo(plain[s_a].Cpu.Rip));
        Assert.That(lab.Timeline.Last().ToString(), Is.EqualTo("   0.001235 s  a         fault: bit 5 of R13 flipped"));
    });

    [Test]
    public void A_bit_of_memory_is_flipped() => Run(async lab =>
    {
        lab.Inject(Fault.Memory(s_a).Flip(0x30_0000, bit: 3));

        await lab.RunFor(1.Milliseconds);

        Assert.That(lab[s_a].Memory.Read8(0x30_0000), Is.EqualTo(8));
    });

    [Test]
    public void A_stuck_bit_of_memory_falls_back_behind_each_store_until_it_is_mended() => Run(async lab =>
    {
        lab.Inject(Fault.Memory(s_a).Stuck(Cell + 6, bit: 3, value: true).For(5.Milliseconds));

        await lab.RunFor(1.Milliseconds);
        Assert.That(TimeStamp(lab[s_a]) >> 48, Is.EqualTo(8));
        await using Lab fork = await lab.Fork();
        await fork.RunFor(1.Milliseconds);
        Assert.That(TimeStamp(fork[s_a]) >> 48, Is.EqualTo(8));

        await lab.RunFor(9.Milliseconds);
        Assert.That(TimeStamp(lab[s_a]) >> 48, Is.Zero);
    });

    [Test]
    public void What_is_not_named_is_drawn_from_the_seed() => Run(async lab =>
    {
        lab.Inject(Fault.Memory(s_a).Flip().Every(100.Microseconds));
        await using Lab again = await lab.Fork();

        await lab.RunFor(10.Milliseconds);
        await again.RunFor(10.Milliseconds);

        string[] flips = [.. lab.Timeline.Where(entry => entry.What.Contains("flipped")).Select(entry => entry.ToString())];
        Assert.That(flips, Has.Length.EqualTo(101).And.Unique);
        Assert.That(again.Timeline.Select(entry => entry.ToString()), Is.SupersetOf(flips));
        Assert.That(again.StateHash(), Is.EqualTo(lab.StateHash()));
    });

    [Test]
    public void A_stalled_processor_stands_while_its_clock_goes_on() => Run(async lab =>
    {
        await lab.RunFor(1.Milliseconds);
        ulong counted = lab[s_a].Cpu.Rbx, retired = lab[s_a].Retired;
        lab.Inject(Fault.Cpu(s_a).Stall(3.Milliseconds));

        await lab.RunFor(3.Milliseconds);
        Assert.That((lab[s_a].Cpu.Rbx, lab[s_a].Retired, lab[s_a].Now), Is.EqualTo((counted, retired, 4.Milliseconds)));

        await lab.RunFor(1.Milliseconds);
        Assert.That(lab[s_a].Retired - retired, Is.EqualTo(1_000_000));
    });

    [Test]
    public void A_clock_that_jumps_shows_in_the_time_stamp_counter() => Run(async lab =>
    {
        lab.Inject(Fault.Clock(s_a).Jump(2.Seconds).At(5.Milliseconds));

        await lab.RunFor(10.Milliseconds);

        Assert.That(TimeStamp(lab[s_a]), Is.EqualTo(2_010_000_000UL).Within(1000));
        Assert.That(TimeStamp(lab[s_b]), Is.EqualTo(10_000_000UL).Within(1000));
        Assert.That(lab[s_a].Now, Is.EqualTo(lab.Now));
    });

    [Test]
    public void A_clock_drifts_for_as_long_as_it_is_told() => Run(async lab =>
    {
        lab.Inject(Fault.Clock(s_a).Drift(partsPerMillion: 500_000).At(10.Milliseconds).For(10.Milliseconds));

        await lab.RunFor(40.Milliseconds);

        Assert.That(TimeStamp(lab[s_a]), Is.EqualTo(45_000_000UL).Within(1000));
        Assert.That(lab[s_a].Now, Is.EqualTo(lab.Now));
    });

    [Test]
    public void A_power_cut_waits_for_the_very_byte_on_the_console() => Run(async lab =>
    {
        lab.Inject(Fault.Power(s_a).Cut().When(Trigger.Console(s_a, "aa").Nth(2)));

        Assert.That(await lab[s_a].Stopped(), Is.EqualTo(MachineStatus.PoweredOff));

        string text = lab[s_a].Console.Text;
        Assert.That(text, Does.EndWith("aa"));
        Assert.That(text.Split("aa"), Has.Length.EqualTo(3));
    });

    [Test]
    public void A_machines_console_can_strike_another_at_the_quantums_end() => Run(async lab =>
    {
        lab.Inject(Fault.Power(s_b).Cut().When(Trigger.Console(s_a, "a")));

        await lab[s_b].Stopped();

        Assert.That(lab[s_a].Console.Text, Does.Contain("a"));
        Assert.That(lab[s_b].Now.TotalMilliseconds % 10, Is.Zero);
    });

    [Test]
    public void A_fault_waits_for_the_nth_store_to_memory() => Run(async lab =>
    {
        lab.Inject(Fault.Cpu(s_a).FlipRegister(register: 13, bit: 0).When(Trigger.Watch(s_a, Cell, length: 4).Nth(1000)));

        await lab.RunFor(1.Seconds);

        TimelineEvent struck = lab.Timeline.Single(entry => entry.What == "fault: bit 0 of R13 flipped");
        Assert.That(struck.Time, Is.EqualTo(TimeSpan.FromTicks(struck.Time.Ticks)).And.LessThan(10.Milliseconds));
        Assert.That(lab[s_a].Cpu.R13, Is.EqualTo(1));
    });

    [Test]
    public void A_fault_waits_for_the_nth_execution_of_an_instruction() => Run(async lab =>
    {
        ulong address = lab[s_a].Cpu.Rip;   // the loop's INC RBX
        lab.Inject(Fault.Power(s_a).Cut().When(Trigger.Code(s_a, address).Nth(500)));

        await lab[s_a].Stopped();

        Assert.That((lab[s_a].Cpu.Rip, lab[s_a].Cpu.Rbx), Is.EqualTo((address, 499)));
    });

    [Test]
    public void A_place_that_a_fault_waits_for_is_in_the_moment_and_strikes_another_machine_at_the_quantums_end() => Run(async lab =>
    {
        lab.Inject(Fault.Power(s_b).Cut().When(Trigger.Watch(s_a, Cell).Nth(5000)));
        await using Lab fork = await lab.Fork();

        await lab[s_b].Stopped();
        await fork[s_b].Stopped();

        Assert.That((fork.Now, fork.StateHash()), Is.EqualTo((lab.Now, lab.StateHash())));
        Assert.That(lab[s_b].Now.TotalMilliseconds % 10, Is.Zero);
    });

    [Test]
    public void A_device_that_is_not_there_is_named() => Run(lab =>
    {
        Assert.That(() => lab.Inject(Fault.Device(s_a, "nic0").Hang()), Throws.TypeOf<LabException>().With.Message.Contains("no device \"nic0\""));
        return Task.CompletedTask;
    });

    [Test]
    public void A_disk_that_is_not_there_is_named() => Run(lab =>
    {
        Assert.That(() => lab.Inject(Fault.Disk(s_a, "data").Full()), Throws.TypeOf<LabException>().With.Message.Contains("no disk \"data\""));
        Assert.That(() => lab.Inject(Fault.Power(s_a).Cut().When(Trigger.DiskFlush(s_a, "data"))),
            Throws.TypeOf<LabException>().With.Message.Contains("no disk \"data\""));
        return Task.CompletedTask;
    });

    [Test]
    public void A_power_cycle_starts_the_guest_anew() => Run(async lab =>
    {
        lab.Inject(Fault.Power(s_a).Cycle().At(25.Milliseconds));

        await lab.RunFor(40.Milliseconds);

        Assert.That(lab[s_a].Retired, Is.EqualTo(10_000_000));
        Assert.That(lab.Timeline.Select(entry => entry.What), Does.Contain("fault: power cycles").And.Contains("powered on"));
    });

    [Test]
    public void Nobody_is_struck_while_the_power_is_off() => Run(async lab =>
    {
        lab.Inject(Fault.Memory(s_a).Flip(0x30_0000, bit: 0).At(5.Milliseconds));
        lab[s_a].PowerOff();
        await lab.RunFor(10.Milliseconds);
        lab[s_a].PowerOn();
        await lab.RunFor(10.Milliseconds);

        Assert.That(lab[s_a].Memory.Read8(0x30_0000), Is.EqualTo(0));
    });

    [Test]
    public void A_fault_that_has_not_struck_is_named() => Run(async lab =>
    {
        Fault late = Fault.Power(s_a).Nmi().At(1.Seconds), never = Fault.Power(s_b).Cut().When(Trigger.Console(s_a, "XYZ"));
        lab.Inject(late);
        lab.Inject(never);

        await lab.RunFor(500.Milliseconds);

        Assert.That(lab.Unfired, Is.EqualTo(new[] { late, never }));
    });

    [Test]
    public void A_fault_that_never_struck_is_noted_at_the_labs_end() => Run(async lab =>
    {
        lab.Inject(Fault.Power(s_a).Nmi().At(1.Seconds));
        await lab.DisposeAsync();
        Assert.That(lab.Timeline.Last().What, Does.StartWith("warning: a fault never struck: PowerNmi"));

    });

    [Test]
    public void A_fault_that_never_struck_is_a_failure_where_the_script_says_so() => Assert.That(
        () => Lab.RunAsync(s_fleet, lab =>
        {
            lab.FailOnUnfired = true;
            lab.Inject(Fault.Power(s_a).Nmi().At(1.Seconds));
            return Task.CompletedTask;
        }), Throws.TypeOf<InvariantException>().With.Message.Contains("never struck"));

    [Test]
    public void A_fault_is_in_the_moment_and_comes_back_with_it() => Run(async lab =>
    {
        lab.Inject(Fault.Memory(s_a).Flip().Every(1.Milliseconds).WithProbability(0.5));
        await lab.RunFor(5.Milliseconds);
        using Moment moment = await lab.Snapshot("armed");
        await lab.RunFor(20.Milliseconds);
        ulong expected = lab.StateHash();

        await lab.Restore(moment);
        await lab.RunFor(20.Milliseconds);

        Assert.That(lab.StateHash(), Is.EqualTo(expected));
    });

    [Test]
    public void A_time_that_is_over_is_refused() => Run(async lab =>
    {
        await lab.RunFor(10.Milliseconds);

        Assert.That(() => lab.Inject(Fault.Power(s_a).Cut().At(5.Milliseconds)),
            Throws.TypeOf<LabException>().With.Message.Contains("already"));
    });

    [Test]
    public void A_plan_is_written_and_read()
    {
        var plan = new FaultPlan(
        [
            Fault.Cpu(s_a).FlipRegister(register: 3), Fault.Cpu(s_a).Stall(2.Seconds), Fault.Memory(s_b).Flip(bit: 2).Every(1.Seconds),
            Fault.Cpu(s_a).MachineCheck(bank: 3, address: 0x1000), Fault.Cpu(s_b).CorrectedError(bank: 1),
            Fault.Clock(s_a).Drift(-20).For(1.Minutes), Fault.Clock(s_b).Jump(1.Seconds).WithProbability(0.25),
            Fault.Power(s_a).Cut().When(Trigger.Console(s_b, "login:").Nth(2)), Fault.Power(s_a).Cycle().At(3.Seconds),
            Fault.Power(s_b).Nmi().When(Trigger.Symbol(s_a, "do_exit").Nth(3)),
            Fault.Disk(s_a, "data").Error(DiskOperations.Reads, new SectorRange(3, 4), requests: 2), Fault.Disk(s_a, "data").Full(),
            Fault.Disk(s_a, "data").Latency(5.Milliseconds).For(1.Seconds), Fault.Disk(s_a, "data").Rotten(sectors: 3),
            Fault.Disk(s_a, "data").Torn().When(Trigger.DiskWrite(s_b, "root", new SectorRange(8, 8)).Nth(7)),
            Fault.Disk(s_a, "data").Dropped().When(Trigger.Watch(s_b, 0x1000, 4, MemoryAccess.Read)),
            Fault.Memory(s_a).Stuck(0x1000, 3, value: true), Fault.Clock(s_b).LostTicks(4), Fault.Device(s_a, "nic0").DropInterrupts(2),
            Fault.Device(s_a, "data").Storm(5.Microseconds), Fault.Device(s_a, "data").Hang(), Fault.Device(s_a, "data").Unplug(),
            Fault.Disk(s_a, "data").Reordered().When(Trigger.Watch(s_b, "jiffies_64")),
        ]);

        Assert.That(FaultPlan.FromJson(plan.ToJson()), Is.EqualTo(plan));
    }

    [TestCase("")]
    [TestCase("[]")]
    [TestCase("{}")]
    [TestCase("""{ "Faults": [ null ] }""")]
    [TestCase("""{ "Faults": [ { "fault": "earthquake" } ] }""")]
    [TestCase("""{ "Faults": [ { "fault": "power-cut" } ] }""")]
    public void What_is_no_plan_is_refused(string json) =>
        Assert.That(() => FaultPlan.FromJson(json), Throws.TypeOf<LabException>().With.Message.StartsWith("This is no plan of faults"));

    [TestCase("""{ "Faults": [ { "fault": "clock-jump", "Machine": "a", "Ahead": "-00:00:01" } ] }""")]
    [TestCase("""{ "Faults": [ { "fault": "power-cut", "Machine": "a", "Period": "00:00:00" } ] }""")]
    public void A_number_that_no_verb_takes_is_refused(string json) =>
        Assert.That(() => FaultPlan.FromJson(json), Throws.TypeOf<LabException>().With.Message.Contains("no verb of its fault takes"));

    static ulong TimeStamp(Vm vm) => vm.Memory.Read64(Cell);

    static void Run(Func<Lab, Task> script) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(s_fleet);
        await script(lab);
    }, new LabOptions());

    static void Count(Assembler asm)
    {
        Label again = asm.CreateLabel(), quiet = asm.CreateLabel();
        asm.Label(ref again);
        asm.inc(rbx);
        asm.rdtsc();
        asm.mov(__dword_ptr[Cell], eax);
        asm.mov(__dword_ptr[Cell + 4], edx);
        asm.test(ebx, 0xFFF);
        asm.jnz(quiet);
        asm.rdrand(rax);
        asm.and(al, 3);
        asm.add(al, (byte)'a');
        asm.mov(dx, 0x3F8);
        asm.@out(dx, al);
        asm.Label(ref quiet);
        asm.jmp(again);
    }
}
