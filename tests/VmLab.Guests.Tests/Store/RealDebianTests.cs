using VmLab.Core;
using VmLab.Guests.Tests.Initramfs;

namespace VmLab.Guests.Tests.Store;

/// <summary>Debian's own packages, from the user's store. The first time takes apt and network.</summary>
[Explicit, Category("Slow")]
public sealed class RealDebianTests
{
    [Test]
    public async Task Guest_has_what_its_programs_need_and_loads_both_ways()
    {
        DebianGuest guest = await GuestStore.OfUser().DebianAsync();
        using var machine = new TestMachine(128.MiB);

        BootEntry onHost = machine.Load(guest with { Kaslr = Kaslr.Off });
        BootEntry inGuest = machine.Load(guest with { Unpacking = KernelUnpacking.InGuest });

        string[] paths =
            [.. CpioArchiveTests.Read(await File.ReadAllBytesAsync(guest.InitramfsPath)).Select(entry => entry.Path)];
        Assert.That(paths, Is.SupersetOf((string[])["usr/bin/sh", "usr/sbin/mkfs.ext4"]));
        Assert.That(
            paths, Has.Some.EndsWith("/virtio_net.ko").And.Some.EndsWith("/libc.so.6").And.None.Contains("/gconv/"));
        Assert.That(inGuest.Rip, Is.EqualTo(onHost.Rip + 0x200));
    }
}
