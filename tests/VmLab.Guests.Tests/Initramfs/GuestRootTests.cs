using System.Text;
using CsCheck;
using VmLab.Guests.Initramfs;

namespace VmLab.Guests.Tests.Initramfs;

public sealed class GuestRootTests
{
    [Test]
    public void Applets_are_linked_where_no_package_has_a_program()
    {
        var root = new RootTree();
        root.AddFile("sbin/mount", 0x1ED, "a package's own");

        GuestRoot.AddApplets(root, TestPackages.Busybox);

        CpioArchiveTests.Entry[] entries = [.. CpioArchiveTests.Read(root.ToCpio())];
        Assert.That(entries.Select(entry => entry.Path), Does.Contain("usr/bin/sh").And.Not.Contains("usr/bin/mount"));
        Assert.That(
            Encoding.UTF8.GetString(entries.Single(entry => entry.Path == "usr/bin/init").Content),
            Is.EqualTo("busybox"));
    }

    [Test]
    public void Modules_bring_what_they_need_and_modprobe_learns_it()
    {
        var root = new RootTree();
        KernelModule[] modules =
        [
            Module("net/eth.ko", "ring,bus-core"), Module("core/bus-core.ko", "ring"), Module("core/ring.ko", ""),
            Module("x/other.ko", ""),
        ];

        GuestRoot.AddModules(
            root, "6.1", ["eth", "built_in"], name => modules.FirstOrDefault(module => module.Name == name));

        CpioArchiveTests.Entry list =
            CpioArchiveTests.Read(root.ToCpio()).Single(entry => entry.Path == "usr/lib/modules/6.1/modules.dep");
        Assert.That(Encoding.UTF8.GetString(list.Content), Is.EqualTo(
            "core/bus-core.ko: core/ring.ko\ncore/ring.ko:\nnet/eth.ko: core/bus-core.ko core/ring.ko\n"));
        Assert.That(root.Contains("lib/modules/6.1/x/other.ko"), Is.False);
    }

    [Test]
    public void Module_that_needs_itself_is_refused()
    {
        KernelModule module = Module("loop.ko", "loop");

        Assert.That(
            () => GuestRoot.AddModules(new RootTree(), "6.1", ["loop"], _ => module),
            Refused.Saying("needs itself"));
    }

    [Test]
    public void Damaged_module_never_gives_more_than_a_message() =>
        Damage.Of(TestPackages.Module("ring")).Sample(bytes => Damage.IsRefusedAtMost(() =>
            _ = new KernelModule("a.ko", bytes).Dependencies.Count));

    [Test]
    public void Busybox_without_a_list_of_applets_is_refused() =>
        Assert.That(
            () => BusyboxApplets.In("no applets here"u8.ToArray()),
            Refused.Saying("no list of applets"));

    [Test]
    public void Damaged_busybox_never_gives_more_than_a_message() =>
        Damage.Of(TestPackages.Busybox).Sample(bytes => Damage.IsRefusedAtMost(() => BusyboxApplets.In(bytes)));

    static KernelModule Module(string path, string depends) => new(path, TestPackages.Module(depends));
}
