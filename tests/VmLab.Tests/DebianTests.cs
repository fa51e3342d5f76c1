using VmLab.Core;
using VmLab.Testing;

namespace VmLab.Tests;

/// <summary>Stock Debian kernels in one lab: what the host does must not show.</summary>
[Explicit("Boots twelve Debian kernels."), Category("Slow")]
public sealed class DebianTests
{
    static readonly Fleet s_unequal = Fleet.Define("unequal").Seed(42)
        .Vm("small", vm => vm.Boot(Guest.Debian()).Memory(96.MiB))
        .Vm("middle", vm => vm.Boot(Guest.Debian()).Memory(128.MiB))
        .Vm("quiet", vm => vm.Boot(Guest.Debian(commandLine: "quiet")).Memory(128.MiB))
        .Vm("large", vm => vm.Boot(Guest.Debian()).Memory(256.MiB));

    [Test]
    public void Four_Debian_machines_do_the_same_on_1_2_and_4_threads()
    {
        string[] runs = [.. new[] { 1, 2, 4 }.Select(threads => Record(new LabOptions { Threads = threads, ShuffleSeed = (ulong)threads }))];

        Assert.That(runs[1], Is.EqualTo(runs[0]));
        Assert.That(runs[2], Is.EqualTo(runs[0]));
    }

    static string Record(LabOptions options)
    {
        string path = Path.Combine(TestContext.CurrentContext.WorkDirectory, "debian.txt"), record = "";
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(s_unequal);
            await lab.Boot();
            Task<ShellResult>[] loads =
            [
                lab["small"].Shell("dd if=/dev/urandom bs=64k count=4 2>/dev/null | sha256sum"),
                lab["middle"].Shell("cat /proc/interrupts"),
                lab["quiet"].Shell("sleep 2; dmesg | tail -n 3"),
                lab["large"].Shell("cat /proc/uptime"),
            ];
            foreach (ShellResult result in await Task.WhenAll(loads)) record += result.Output;
            foreach (Vm vm in lab.Machines) record += $"{vm.Name} {vm.StateHash:x16}\n{vm.Console.Text}\n";
            record += string.Join('\n', lab.Timeline);
        }, options with { Hashes = path });
        Assert.That(record, Does.Contain("is up"));
        return record + File.ReadAllText(path);
    }
}
