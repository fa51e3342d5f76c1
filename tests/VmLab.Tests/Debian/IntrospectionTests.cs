using System.Globalization;
using VmLab.Core;
using VmLab.Introspection;
using VmLab.Testing;

namespace VmLab.Tests.Debian;

/// <summary>What is read of a guest's kernel from outside is what the guest says of itself, KASLR on and modules loaded.</summary>
[TestFixture(false)]
[TestFixture(true, Explicit = true, Reason = "Boots another Debian kernel.", Category = "Slow")]
public sealed class IntrospectionTests(bool isCloud)
{
    DebianMoment _debian = null!;

    [OneTimeSetUp]
    public void Boot() => _debian = new DebianMoment(
        isCloud ? DebianKernel.Cloud : DebianKernel.Generic, "modprobe virtio_net && modprobe virtio_blk");

    [OneTimeTearDown]
    public void Close() => _debian.Dispose();

    [Test]
    public void The_kernels_log_is_what_dmesg_prints() => _debian.Fork(async (_, vm) =>
    {
        string printed = (await vm.Shell("dmesg")).Output;

        Assert.That(printed, Does.Contain("Linux version"));
        Assert.That(vm.Linux.KernelLog.Text, Is.EqualTo(printed));
    });

    [Test]
    public void A_record_has_its_level_and_several_lines() => _debian.Fork(async (_, vm) =>
    {
        await vm.Shell("echo '<3>first' > /dev/kmsg");

        KernelLogEntry last = vm.Linux.KernelLog[^1];
        Assert.That((last.Level, last.Facility, last.Text), Is.EqualTo((KernelLogLevel.Error, 1, "first")));
    });

    [Test]
    public void The_log_holds_the_youngest_records_when_its_buffer_has_wrapped() => _debian.Fork(async (_, vm) =>
    {
        await vm.Shell("echo on > /proc/sys/kernel/printk_devkmsg");
        await vm.Shell("i=0; while [ $i -lt 6000 ]; do echo \"record $i of a length that fills the buffer up $i\"; i=$((i+1)); done > /dev/kmsg");
        string printed = (await vm.Shell("dmesg -s 1000000")).Output;

        Assert.That(vm.Linux.KernelLog[0].Sequence, Is.GreaterThan(0));
        Assert.That(vm.Linux.KernelLog.Text, Is.EqualTo(printed));
    });

    [Test]
    public void Tasks_are_those_of_proc() => _debian.Fork(async (_, vm) =>
    {
        Task<ShellResult> sleeping = vm.Shell("exec sleep 3");
        string printed = (await vm.Shell("cat /proc/[0-9]*/stat")).Output;

        var tasks = vm.Linux.Tasks.Where(task => task.IsProcess).Select(task => (task.Pid, task.Name, task.Parent));
        var expected = printed.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(TaskOf);
        Assert.That(tasks.Where(task => !IsOfTheShell(task.Name)), Is.EquivalentTo(expected.Where(task => !IsOfTheShell(task.Name))));
        await sleeping;
    });

    [Test]
    public void Each_task_has_its_state() => _debian.Fork(async (lab, vm) =>
    {
        Task<ShellResult> shell = vm.Shell("sleep 100 & sleep 0.1; kill -STOP $!; true & exec sleep 50");
        await lab.RunFor(1.Seconds);

        GuestTasks tasks = vm.Linux.Tasks;
        Assert.That(tasks.Where(task => task.Name == "sleep").Select(task => task.State.Letter), Is.EquivalentTo("TS"));
        Assert.That(tasks.Select(task => task.State), Has.Member(KernelTaskState.Zombie));
        Assert.That(tasks.Where(task => task.Name == "rcu_gp").Select(task => (task.State.Letter, task.IsKernelThread)), Is.EqualTo(new[] { ('I', true) }));
        await shell;
    });

    [Test]
    public void A_tasks_memory_is_read_by_its_own_addresses() => _debian.Fork(async (_, vm) =>
    {
        Task<ShellResult> sleeping = vm.Shell("exec sleep 5");
        string[] stat = (await vm.Shell("cat /proc/$(pidof sleep)/stat")).Output.Split(' ');
        ulong arguments = ulong.Parse(stat[47], CultureInfo.InvariantCulture);   // field 48 is arg_start: proc(5)

        GuestTask sleep = vm.Linux.Tasks["sleep"];
        Assert.That(sleep.Memory.ReadBytes(arguments, 8), Is.EqualTo("sleep\05\0"u8.ToArray()));
        Assert.That(() => sleep.Memory.Read8(0), Throws.TypeOf<LabException>().With.Message.Contains("the address space of sleep"));
        Assert.That(() => vm.Linux.Tasks["kthreadd"].Memory, Throws.TypeOf<LabException>().With.Message.Contains("is the kernel's"));
        await sleeping;
    });

    [Test]
    public void Modules_are_those_of_proc_modules() => _debian.Fork(async (_, vm) =>
    {
        string printed = (await vm.Shell("cat /proc/modules")).Output;

        Assert.That(printed, Does.Contain("virtio_blk"));
        Assert.That(
            vm.Linux.Modules.Select(module => string.Create(CultureInfo.InvariantCulture, $"{module.Name} {module.Size} {module.State} 0x{module.Base:x16}")),
            Is.EqualTo(printed.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(' '))
                .Select(words => $"{words[0]} {words[1]} {words[4]} {words[5]}")));
    });

    [Test]
    public void Constraints_look_into_the_kernel() => _debian.Fork((_, vm) =>
    {
        Assert.That(vm, Has.Task("kthreadd").And.No.KernelOops());
        Assert.That(vm, Has.Module("virtio_net").And.KernelLog("Linux version").And.No.Task("mysqld"));
        Assert.That(vm, Has.KernelLog(Does.Not.Contain("Kernel panic")));
        Assert.That(MessageOf(() => Assert.That(vm, Has.Task("mysqld").And.No.KernelOops())),
            Does.Contain("Expected: a task \"mysqld\"").And.Match("But was:  <alice, which at [0-9.]+ s runs init, kthreadd, "));
        Assert.That(MessageOf(() => Assert.That(vm, Has.No.Module("virtio_net"))), Does.Contain("Expected: not a module \"virtio_net\"").And.Match("has .*virtio_net"));
        Assert.That(MessageOf(() => Assert.That(vm, Has.KernelOops())), Does.Contain("has done neither"));
        return Task.CompletedTask;
    });

    [Test]
    public void Eventually_waits_for_what_the_kernel_shows() => _debian.Fork(async (lab, vm) =>
    {
        Task<ShellResult> shell = vm.Shell("sleep 2; exec sleep 1");

        await lab.Eventually(() => vm, Has.Task("sleep"), within: 1.Seconds);
        await lab.Eventually(() => vm, Has.No.Task("sleep"), within: 5.Seconds);
        await shell;
    });

    [Test]
    public void A_kernel_without_type_information_is_told()
    {
        ulong types = 0;
        _debian.Fork((_, vm) => Task.FromResult(types = vm.Linux.Symbol("__start_BTF")));

        _debian.Fork((_, vm) =>
        {
            vm.Powered.Machine.Pc.LinearMemory.Write(types, new byte[2]);
            foreach (Func<object> look in new Func<object>[] { () => vm.Linux.Tasks, () => vm.Linux.Modules, () => vm.Linux.KernelLog })
                Assert.That(() => look(), Throws.TypeOf<LabException>().With.Message.Contains("without CONFIG_DEBUG_INFO_BTF"));
            Assert.That((vm.Linux.Panicked, vm.Linux.Oopsed), Is.EqualTo((false, false)));
            return Task.CompletedTask;
        });
    }

    [Test]
    public void Damaged_structures_are_read_as_far_as_they_lead() => _debian.Fork((_, vm) =>
    {
        LinuxKernel kernel = vm.Linux.Kernel;
        ulong ring = vm.Linux.Symbol("prb").UInt64;
        (ulong Start, int Length)[] structures =
        [
            (ring, 256), (vm.Memory.Linear.Read64(ring + 8), 64 << 10), (vm.Memory.Linear.Read64(ring + 16), 64 << 10),
            (vm.Linux.Symbol("init_task"), 8192), (vm.Linux.Symbol("modules"), 16), (vm.Linux.Modules[0].Base, 4096),
        ];
        Rng random = Rng.FromSeed(1);
        for (int i = 0; i < 300; i++)
        {
            var (start, length) = structures[(int)random.NextBelow((ulong)structures.Length)];
            byte[] damage = BitConverter.GetBytes(random.Next() >> (int)random.NextBelow(64));
            kernel.Memory.Write(start + random.NextBelow((ulong)length) / 8 * 8, damage);
            Assert.That(() => (vm.Linux.KernelLog.Text, vm.Linux.Tasks.ToString(), vm.Linux.Modules.Count), Throws.Nothing);
        }
        return Task.CompletedTask;
    });

    [Test]
    public void To_look_changes_nothing() => _debian.Fork((_, vm) =>
    {
        ulong before = vm.StateHash;

        Assert.That(vm.Linux.KernelLog, Is.Not.Empty);
        Assert.That(vm.Linux.Tasks, Is.Not.Empty);
        Assert.That(vm.Linux.Modules, Is.Not.Empty);
        Assert.That((vm.Linux.Panicked, vm.Linux.Oopsed), Is.EqualTo((false, false)));
        Assert.That(vm.Linux.Symbol("jiffies").UInt64, Is.Not.Zero);

        Assert.That(vm.StateHash, Is.EqualTo(before));
        return Task.CompletedTask;
    });

    static string MessageOf(Action code)
    {
        using var _ = new NUnit.Framework.Internal.TestExecutionContext.IsolatedContext();
        return Assert.Catch<AssertionException>(code)!.Message;
    }

    // What the command itself starts comes and goes.
    static bool IsOfTheShell(string name) => name is "sh" or "cat";

    // The kernel tells of its own threads more than their 15 bytes: their whole name, and what a worker works at.
    static (int, string Name, int) TaskOf(string line)
    {
        int open = line.IndexOf('('), close = line.LastIndexOf(')');
        string name = line[(open + 1)..close];
        if (name.StartsWith("kworker", StringComparison.Ordinal)) name = name.Split('+', '-')[0];
        return (int.Parse(line[..open], CultureInfo.InvariantCulture), name[..Math.Min(name.Length, 15)],
            int.Parse(line[(close + 2)..].Split(' ')[1], CultureInfo.InvariantCulture));
    }
}
