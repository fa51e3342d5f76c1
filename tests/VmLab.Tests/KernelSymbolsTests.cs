using System.Globalization;
using VmLab.Core;
using VmLab.Introspection;

namespace VmLab.Tests;

/// <summary>A guest's symbols from outside are those that it prints itself.</summary>
public sealed class KernelSymbolsTests
{
    [Test]
    public void The_symbols_of_a_Debian_guest_are_those_of_its_proc_kallsyms() => Run(async (lab, vm) =>
    {
        KernelSymbols before = vm.Linux.Symbols;
        string printed = (await vm.Shell("modprobe virtio_net && modprobe virtio_blk && cat /proc/kallsyms")).Output;

        Assert.That(printed, Does.Contain("[virtio_net]"));
        Assert.That((before.TryFind("virtio_net_driver", out _), vm.Linux.Symbols.TryFind("virtio_net_driver", out ulong driver)),
            Is.EqualTo((false, true)));
        Assert.That(vm.Linux.Symbols.At(driver + 1), Is.EqualTo(("virtio_net_driver", 1UL)));
        Assert.That(
            vm.Linux.Symbols.All.Select(symbol => string.Create(CultureInfo.InvariantCulture,
                $"{symbol.Address:x16} {symbol.Type} {symbol.Name}{(symbol.Module is null ? "" : $"\t[{symbol.Module}]")}")),
            Is.EqualTo(printed.Split('\n', StringSplitOptions.RemoveEmptyEntries)));
    });

    static void Run(Func<Lab, Vm, Task> script) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(
            Fleet.Define("symbols").Seed(5).Vm("alice", vm => vm.Boot(Guest.Debian()).Memory(128.MiB)));
        await lab.Boot();
        await script(lab, lab["alice"]);
    });
}
