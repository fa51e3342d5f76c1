using VmLab.Core;
using VmLab.Testing;

namespace VmLab.Tests.Debian;

/// <summary>What a panic or an oops of an unmodified kernel makes of the lab.</summary>
public sealed class PanicTests
{
    const string Crash = "echo c > /proc/sysrq-trigger";

    readonly DebianMoment _debian = new(DebianKernel.Cloud);

    [OneTimeTearDown]
    public void Close() => _debian.Dispose();

    [Test]
    public void A_panic_fails_the_lab_at_that_instant_with_the_kernels_log() => _debian.Fork(async (lab, vm) =>
    {
        TimeSpan before = lab.Now;

        KernelPanicException? panic = await Catch(vm.Shell(Crash));

        Assert.That(panic!.Message, Does.StartWith("alice's kernel panicked at ").And.Contain(" s: sysrq triggered crash.")
            .And.Contain("Kernel panic - not syncing: sysrq triggered crash").And.Contain("lab[\"alice\"].MayPanic()"));
        Assert.That((panic.Machine, panic.IsOops), Is.EqualTo(("alice", false)));
        Assert.That(panic.Time, Is.EqualTo(vm.Now).And.GreaterThan(before));
        Assert.That(panic.Log, Does.Contain("Call Trace:"));
        Assert.That((vm.HasPanicked, vm.Linux.Panicked), Is.EqualTo((true, true)));
    });

    [Test]
    public void An_announced_panic_is_the_commands_outcome() => _debian.Fork(async (lab, vm) =>
    {
        vm.MayPanic();

        ShellResult result = await vm.Shell(Crash);
        await lab.RunFor(10.Seconds);

        Assert.That(result.Outcome, Is.EqualTo(ShellOutcome.Panicked));
        Assert.That(vm.Linux.KernelLog.Text, Does.Contain("---[ end Kernel panic - not syncing: sysrq triggered crash ]---"));
    });

    [Test]
    public void A_panic_shows_without_a_console() => _debian.Fork(async (_, vm) =>
    {
        vm.MayPanic();

        ShellResult result = await vm.Shell($"echo 0 > /proc/sys/kernel/printk; {Crash}");

        Assert.That(result.Outcome, Is.EqualTo(ShellOutcome.Panicked));
        Assert.That(vm.Console.Text, Does.Not.Contain("Kernel panic"));
        Assert.That(vm, Has.KernelLog("Kernel panic - not syncing: sysrq triggered crash"));
    });

    [Test]
    public void An_oops_fails_the_lab_though_the_kernel_lives() => _debian.Fork(async (_, vm) =>
    {
        Break(vm, "__do_sys_sysinfo");

        KernelPanicException? oops = await Catch(vm.Shell("free"));

        Assert.That(oops!.Message, Does.StartWith("alice's kernel oopsed at ").And.Contain("invalid opcode: 0000 [#1]"));
        Assert.That((vm.HasPanicked, vm.Linux.Panicked, vm.Linux.Oopsed), Is.EqualTo((false, false, true)));
    });

    [Test]
    public void After_an_announced_oops_the_script_goes_on() => _debian.Fork(async (lab, vm) =>
    {
        vm.MayPanic();
        Break(vm, "__do_sys_sysinfo");

        Assert.That(await vm.Shell("free"), Exits.With(139).Or.Matches(Exits.With(137)));
        Assert.That(await vm.Shell("true"), Exits.With(0));
        Assert.That(lab.Timeline.Select(happened => happened.What), Has.Member("kernel oops"));
    });

    [Test]
    public void A_lab_that_is_restored_after_a_panic_goes_on() => _debian.Fork(async (lab, vm) =>
    {
        using Moment before = await lab.Snapshot("before");
        await Catch(vm.Shell(Crash));

        await lab.Restore(before);

        Assert.That(await vm.Shell("true"), Exits.With(0));
        Assert.That(await Catch(vm.Shell(Crash)), Is.Not.Null);
    });

    [Test]
    public void A_kernel_that_is_watched_does_what_it_does_unwatched()
    {
        var hashes = new List<ulong>();
        foreach (bool isWatched in new[] { true, false })
            _debian.Fork(async (lab, vm) =>
            {
                if (!isWatched) vm.Restore(vm.Snapshot() with { CrashHook = 0 });
                await vm.Shell("dmesg | sha256sum; dd if=/dev/urandom bs=64k count=4 2>/dev/null | sha256sum");
                hashes.Add(lab.StateHash());
            });

        Assert.That(hashes[0], Is.EqualTo(hashes[1]));
    }

    static async Task<KernelPanicException?> Catch(Task task)
    {
        try
        {
            await task;
            return null;
        }
        catch (KernelPanicException panic)
        {
            return panic;
        }
    }

    /// <summary>Puts UD2 at the beginning of a function of the kernel.</summary>
    static void Break(Vm vm, string function) =>
        vm.Powered.Machine.Pc.LinearMemory.Write(vm.Linux.Symbol(function), [0x0F, 0x0B]);
}
