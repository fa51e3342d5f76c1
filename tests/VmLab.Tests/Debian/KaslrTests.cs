using VmLab.Core;
using VmLab.Guests;
using VmLab.Testing;

namespace VmLab.Tests.Debian;

/// <summary>Stock kernels run where the seed says, and tell it themselves.</summary>
public sealed class KaslrTests
{
    // Where the kernel's text is in its own address space, and in memory.
    const string Places = "grep -m 1 ' T _text$' /proc/kallsyms; grep 'Kernel code' /proc/iomem";

    const string LinkedText = "ffffffff81000000 T _text", LinkedCode = "01000000-";

    [Test]
    public void Two_machines_of_one_lab_run_their_kernels_at_different_addresses() => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(Fleet.Define("moved").Seed(2)
            .Vm("alice", vm => vm.Boot(Guest.Debian()).Memory(256.MiB))
            .Vm("bob", vm => vm.Boot(Guest.Debian()).Memory(256.MiB)));
        await lab.Boot();

        ShellResult[] places = await Task.WhenAll(lab["alice"].Shell(Places), lab["bob"].Shell(Places));

        Assert.That(places, Is.All.Property(nameof(ShellResult.Succeeded)).True);
        string[] lines = [.. places.SelectMany(result => result.Output.TrimEnd().Split('\n'))];
        Assert.That(lines, Is.Unique.And.Length.EqualTo(4));
        Assert.That(lines, Has.None.StartsWith(LinkedText).And.None.Contains(LinkedCode));
    });

    [TestCase(KernelUnpacking.OnHost), TestCase(KernelUnpacking.InGuest)]
    [Explicit("Boots a Debian kernel."), Category("Slow")]
    public void Kernel_runs_where_it_was_linked_without_KASLR(KernelUnpacking unpacking) =>
        OneDebian.Run(Guest.Debian(unpacking: unpacking, kaslr: Kaslr.Off), 256.MiB, async vm =>
            Assert.That(
                (await vm.Shell(Places)).Output, Does.StartWith(LinkedText).And.Contains(LinkedCode)));

    [TestCase("linux-image-cloud-amd64", KernelUnpacking.OnHost)]
    [TestCase("linux-image-cloud-amd64", KernelUnpacking.InGuest)]
    [TestCase("linux-image-amd64", KernelUnpacking.OnHost)]
    [TestCase("linux-image-amd64", KernelUnpacking.InGuest)]
    [Explicit("Boots eleven Debian kernels a case."), Category("Slow")]
    public void Ten_seeds_give_ten_places_and_a_seed_always_the_same(string kernel, KernelUnpacking unpacking)
    {
        Guest guest = Guest.Debian(kernel: new DebianKernel(kernel), unpacking: unpacking, kaslr: Kaslr.Seeded);
        string[] runs = [.. Enumerable.Range(1, 10).Select(seed => PlacesOf(guest, (ulong)seed))];
        TestContext.Out.WriteLine(string.Join('\n', runs));

        // One of the two addresses may well be drawn twice.
        Assert.That(runs.Select(run => run[..run.LastIndexOf('\n')]), Is.Unique.And.None.StartsWith(LinkedText));
        Assert.That(PlacesOf(guest, seed: 1), Is.EqualTo(runs[0]));
    }

    // With the hash of all that the machine then is.
    static string PlacesOf(Guest guest, ulong seed)
    {
        string places = "";
        OneDebian.Run(guest, 512.MiB, async vm =>
        {
            ShellResult result = await vm.Shell(Places);
            Assert.That(result, Exits.With(0));
            places = $"{result.Output}{vm.StateHash:x16}";
        }, seed);
        return places;
    }
}
