using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Tests;

/// <summary>Moments of a whole lab: restored or forked, it goes on as it did.</summary>
public sealed class MomentTests
{
    static readonly Fleet s_pair = Fleet.Define("pair").Seed(5)
        .Vm("fast", out s_fast, vm => vm.Boot(Guest.Program(asm => Chatter(asm, 20_000))).Memory(4.MiB))
        .Vm("slow", vm => vm.Boot(Guest.Program(asm => Chatter(asm, 70_000))).Memory(4.MiB));

    static readonly VmRef s_fast;

    [Test]
    public void A_restored_lab_repeats_itself() => OnPair(async lab =>
    {
        await lab.RunFor(25.Milliseconds);
        using Moment moment = await lab.Snapshot("there");
        string first = await Continue(lab);

        await lab.Restore(moment);
        Assert.That(lab.Now, Is.EqualTo(25.Milliseconds));
        string second = await Continue(lab);

        Assert.That(second, Is.EqualTo(first));
    });

    [Test]
    public void A_fork_of_a_fork_goes_on_as_its_root() => OnPair(async lab =>
    {
        await lab.RunFor(15.Milliseconds);
        await using Lab fork = await lab.Fork();
        await fork.RunFor(10.Milliseconds);
        await using Lab leaf = await fork.Fork();
        await lab.RunFor(10.Milliseconds);

        string expected = await Continue(lab);

        Assert.That(await Continue(leaf), Is.EqualTo(expected));
        Assert.That(await Continue(fork), Is.EqualTo(expected));
    });

    [Test]
    public void What_was_awaited_ends_with_the_restore() => OnPair(async lab =>
    {
        using Moment moment = await lab.Snapshot("start");
        Task never = lab.Until(() => false);
        await lab.RunFor(5.Milliseconds);

        await lab.Restore(moment);

        await Assert.ThatAsync(() => never, Throws.TypeOf<MomentRestoredException>().With.Message.Contains("\"start\""));
    });

    [Test]
    public void Guest_time_goes_back_and_elapsed_time_does_not() => OnPair(async lab =>
    {
        await lab.RunFor(10.Milliseconds);
        using Moment moment = await lab.Snapshot("ten");
        await lab.RunFor(30.Milliseconds);

        await lab.Restore(moment);
        await lab.RunFor(1.Milliseconds);

        Assert.That((lab.Now, lab.Elapsed), Is.EqualTo((11.Milliseconds, 41.Milliseconds)));
    });

    [Test]
    public void A_moment_outlives_its_lab() => Pump.Run(async () =>
    {
        Moment moment;
        string expected;
        await using (Lab lab = await Lab.StartAsync(s_pair))
        {
            await lab.RunFor(20.Milliseconds);
            moment = await lab.Snapshot("kept");
            expected = await Continue(lab);
        }

        await using Lab later = await Lab.StartAsync(moment);

        Assert.That(await Continue(later), Is.EqualTo(expected));
    }, new LabOptions());

    [Test]
    public void A_moment_of_another_lab_is_refused() => OnPair(async lab =>
    {
        await using Lab other = await Lab.StartAsync(s_pair);
        using Moment moment = await other.Snapshot("other");

        await Assert.ThatAsync(() => lab.Restore(moment), Throws.TypeOf<LabException>().With.Message.Contains("Lab.StartAsync(moment)"));
    });

    [Test]
    public void A_machine_powered_off_since_runs_again_after_a_restore() => OnPair(async lab =>
    {
        using Moment moment = await lab.Snapshot("on");
        string expected = await Continue(lab);
        lab[s_fast].PowerOff();
        await lab.RunFor(5.Milliseconds);

        await lab.Restore(moment);

        Assert.That(await Continue(lab), Is.EqualTo(expected));
    });

    [Test]
    public void A_Debian_goes_on_in_forks_and_after_restores_and_its_commands_with_it() => Pump.Run(async () =>
    {
        Fleet fleet = Fleet.Define("debian").Seed(3).Vm("d", out VmRef d, vm => vm.Boot(Guest.Debian()).Memory(128.MiB));
        const string Command = "for i in 1 2 3; do echo $i; sleep 1; done; cat /proc/sys/kernel/random/uuid";
        await using Lab lab = await Lab.StartAsync(fleet);
        await lab.Boot();
        Task<ShellResult> running = lab[d].Shell(Command);
        await lab.RunFor(1500.Milliseconds);
        using Moment moment = await lab.Snapshot("in the middle of a command");
        string expected = (await running).Output + lab[d].StateHash;

        await lab.Restore(moment);
        string restored = (await lab[d].Resume(Command)).Output + lab[d].StateHash;
        await using Lab fork = await Lab.StartAsync(moment);
        string forked = (await fork[d].Resume(Command)).Output + fork[d].StateHash;

        Assert.That((restored, forked), Is.EqualTo((expected, expected)));
        Assert.That(expected, Does.StartWith("1\n2\n3\n"));
    }, new LabOptions());

    static async Task<string> Continue(Lab lab)
    {
        await lab.RunFor(40.Milliseconds);
        return string.Join('\n', lab.Machines.Select(vm => $"{vm.Name} {vm.StateHash:x16} {vm.Now} {vm.Console.Text}"));
    }

    static void OnPair(Func<Lab, Task> script) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(s_pair);
        await script(lab);
    }, new LabOptions());

    /// <summary>Draws a number, prints and stores it, works for a while, again and again.</summary>
    static void Chatter(Assembler asm, int work)
    {
        Label again = asm.CreateLabel(), spin = asm.CreateLabel();
        asm.mov(edi, 0x20_0000);
        asm.Label(ref again);
        asm.rdrand(rax);
        asm.mov(__[rdi], rax);
        asm.add(rdi, 0x208);
        asm.and(edi, 0x2F_FFFF);
        asm.or(edi, 0x20_0000);
        asm.and(al, 0x0F);
        asm.add(al, (byte)'a');
        asm.mov(dx, 0x3F8);
        asm.@out(dx, al);
        asm.mov(ecx, work);
        asm.Label(ref spin);
        asm.dec(ecx);
        asm.jnz(spin);
        asm.jmp(again);
    }
}
