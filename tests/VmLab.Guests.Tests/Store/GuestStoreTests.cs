using System.Text;
using VmLab.Core;
using VmLab.Guests.Linux;
using VmLab.Guests.Packages;
using VmLab.Guests.Store;
using VmLab.Guests.Tests.Initramfs;

namespace VmLab.Guests.Tests.Store;

[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class GuestStoreTests
{
    const string Release = "6.1.0-1-cloud-amd64";

    readonly string _folder = Directory.CreateTempSubdirectory("vmlab-store").FullName;
    readonly FakeSource _source = new();
    readonly GuestStore _store;

    public GuestStoreTests()
    {
        _store = new GuestStore(_folder, _source);
        string kernel = "linux-image-" + Release, modules = $"./lib/modules/{Release}/kernel/drivers/";
        _source.Add("linux-image-amd64", "linux-image-6.1.0-1-amd64 (= 6.1-1)");
        _source.Add(TestPackages.Make("linux-image-6.1.0-1-amd64", "6.1-1", "",
            ("./boot/vmlinuz-6.1.0-1-amd64", TestKernel.BzImage())));
        _source.Add("linux-image-cloud-amd64", $"{kernel} (= 6.1-1)");
        _source.Add(TestPackages.Make(kernel, "6.1-1", "kmod, linux-base",
            ($"./boot/vmlinuz-{Release}", TestKernel.BzImage()),
            (modules + "virtio/virtio_pci.ko", TestPackages.Module("virtio_ring")),
            (modules + "virtio/virtio_ring.ko", TestPackages.Module("")),
            (modules + "usb/usbcore.ko", TestPackages.Module("usb-common")),
            (modules + "usb/common/usb-common.ko", TestPackages.Module("")),
            ($"./lib/modules/{Release}/modules.builtin", "kernel/fs/ext4/ext4.ko\n"u8.ToArray())));
        _source.Add(TestPackages.Make("busybox-static", "1:1.35", "", ("./bin/busybox", TestPackages.Busybox)));
        _source.Add(TestPackages.Make("dash", "0.5", "libc6", ("./bin/dash", [1]), ("./bin/sh -> dash", [])));
        _source.Add(TestPackages.Make("e2fsprogs", "1.47", "libc6",
            ("./sbin/mke2fs", [2]), ("./usr/share/doc/e2fsprogs/README", [3])));
        _source.Add(TestPackages.Make("libc6", "2.36", "", ("./lib/x86_64-linux-gnu/libc.so.6", [4])));
        _source.Add(TestPackages.Make("curl", "7.88", "libc6", ("./usr/bin/curl", [5])));
    }

    [TearDown]
    public void Clean() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task Guest_is_made_of_its_packages()
    {
        DebianGuest guest = await _store.DebianAsync();

        string[] paths = [.. Paths(guest)];
        Assert.That(guest.Stored.Release, Is.EqualTo(Release));
        Assert.That(guest.Stored.Packages, Is.EqualTo((string[])
            [$"linux-image-{Release} 6.1-1", "busybox-static 1:1.35", "dash 0.5", "e2fsprogs 1.47", "libc6 2.36"]));
        Assert.That(paths, Is.SupersetOf((string[])["init", "etc/hosts", "mnt", "srv", "usr/bin/ash"]));
        Assert.That(paths, Is.SupersetOf((string[])["usr/bin/dash", "usr/sbin/mke2fs", "usr/sbin/vmlab-agent"]));
        Assert.That(paths, Does.Contain($"usr/lib/modules/{Release}/kernel/drivers/virtio/virtio_ring.ko"));
        Assert.That(paths, Has.None.Contains("usbcore").And.None.Contains("README"));
    }

    [Test]
    public async Task Kernel_is_kept_as_packaged_and_boots()
    {
        using var machine = new TestMachine(16.MiB);
        DebianGuest guest = await _store.DebianAsync();

        BootEntry entry = machine.Load(guest.With("vmlab.net=eth0:10.0.0.1/24"));

        string commandLine = Encoding.ASCII.GetString(machine.Bytes(machine.Number(entry.Rsi + 0x228, 4), 66));
        Assert.That(File.ReadAllBytes(guest.KernelPath), Is.EqualTo(TestKernel.BzImage()));
        Assert.That(entry.Rip, Is.EqualTo(TestKernel.Entry));
        Assert.That(commandLine, Does.StartWith("console=ttyS0 vmlab.net=eth0:10.0.0.1/24 vmlab.host=alice\0"));
    }

    [Test]
    public async Task Second_time_needs_no_source()
    {
        DebianGuest first = await _store.DebianAsync(["curl"]);
        int questions = _source.Questions;

        DebianGuest second = await new GuestStore(_folder, _source).DebianAsync(["curl"]);

        Assert.That(_source.Questions, Is.EqualTo(questions));
        Assert.That(second.Folder, Is.EqualTo(first.Folder));
    }

    [Test]
    public async Task Packages_asked_for_come_in_and_only_what_is_missing_is_downloaded()
    {
        await _store.DebianAsync();
        DebianGuest guest = await _store.DebianAsync(["curl", "curl"]);

        Assert.That(Paths(guest), Does.Contain("usr/bin/curl"));
        Assert.That(_source.Downloads, Is.EqualTo(2));
        Assert.That(
            _store.List().Select(stored => stored.Folder).ToList(), Has.Count.EqualTo(2).And.Member(guest.Folder));
    }

    [Test]
    public async Task Other_kernels_of_Debian_are_had_by_their_metapackage()
    {
        DebianGuest cloud = await _store.DebianAsync();

        DebianGuest generic = await _store.DebianAsync(kernel: DebianKernel.Generic);

        Assert.That(generic.Stored.Release, Is.EqualTo("6.1.0-1-amd64"));
        Assert.That((await _store.DebianAsync()).Stored.Release, Is.EqualTo(cloud.Stored.Release));
    }

    [TestCase("usbcore")]
    [TestCase("usb-common", "usbcore", "ext4")]
    [TestCase(DebianKernel.AllModules)]
    public async Task Modules_asked_for_come_in_with_what_they_need(params string[] modules)
    {
        DebianGuest guest = await _store.DebianAsync(modules: modules);

        string usb = $"usr/lib/modules/{Release}/kernel/drivers/usb/";
        Assert.That(Paths(guest), Is.SupersetOf((string[])[usb + "usbcore.ko", usb + "common/usb-common.ko"]));
        Assert.That(guest.Folder, Is.Not.EqualTo((await _store.DebianAsync()).Folder));
    }

    [Test]
    public void Module_that_the_kernel_lacks_is_refused_by_name() =>
        Assert.That(
            async () => await _store.DebianAsync(modules: ["test_bpf"]), Refused.Saying("no module test_bpf"));

    [Test]
    public async Task Guest_that_is_gone_is_built_again_from_the_packages_in_the_folder()
    {
        DebianGuest first = await _store.DebianAsync();
        byte[] initramfs = await File.ReadAllBytesAsync(first.InitramfsPath);
        Directory.Delete(first.Folder, recursive: true);
        _source.IsOffline = true;

        DebianGuest second = await _store.DebianAsync();

        Assert.That(await File.ReadAllBytesAsync(second.InitramfsPath), Is.EqualTo(initramfs));
    }

    [Test]
    public async Task Update_takes_what_the_source_has_now()
    {
        await _store.DebianAsync();
        _source.Add(TestPackages.Make("dash", "0.6", "libc6", ("./bin/dash", [9])));

        DebianGuest kept = await _store.DebianAsync(), updated = await _store.DebianAsync(update: true);

        Assert.That(kept.Stored.Packages, Does.Contain("dash 0.5"));
        Assert.That(updated.Stored.Packages, Does.Contain("dash 0.6"));
    }

    [Test]
    public async Task Stale_lists_are_updated_once()
    {
        _source.IsStale = true;

        await _store.DebianAsync();

        Assert.That(_source.Updates, Is.EqualTo(1));
    }

    [Test]
    public async Task Corrupt_download_is_refused_and_not_kept()
    {
        _source.IsCorrupting = true;

        Assert.That(
            async () => await _store.DebianAsync(),
            Refused.Saying("is corrupt", "Try again"));

        _source.IsCorrupting = false;
        Assert.That((await _store.DebianAsync()).Stored.Release, Is.EqualTo(Release));
        Assert.That(Directory.GetDirectories(_folder, "new-*"), Is.Empty);
    }

    [Test]
    public async Task Package_that_was_spoiled_in_the_folder_is_downloaded_again()
    {
        DebianGuest guest = await _store.DebianAsync();
        Directory.Delete(guest.Folder, recursive: true);
        foreach (string file in Directory.GetFiles(Path.Combine(_folder, "packages"), "dash*"))
            await File.WriteAllTextAsync(file, "spoiled");

        await _store.DebianAsync();

        Assert.That(_source.Downloads, Is.EqualTo(2));
    }

    [Test]
    public async Task Stored_file_that_has_changed_is_refused_when_it_is_booted()
    {
        using var machine = new TestMachine(16.MiB);
        DebianGuest guest = await _store.DebianAsync();
        await File.AppendAllTextAsync(guest.InitramfsPath, "more");

        Assert.That(
            () => machine.Load(guest),
            Refused.Saying("initramfs has changed", "Remove"));
    }

    [Test]
    public async Task Selection_that_cannot_be_read_is_made_again()
    {
        await _store.DebianAsync();
        foreach (string file in Directory.GetFiles(Path.Combine(_folder, "selections")))
            await File.WriteAllTextAsync(file, "{\"Kernel\": null}");

        Assert.That((await _store.DebianAsync()).Stored.Release, Is.EqualTo(Release));
    }

    [Test]
    public void Unknown_package_is_refused_by_name() =>
        Assert.That(
            async () => await _store.DebianAsync(["nonesuch"]), Refused.Saying("nonesuch"));

    [TestCase("--force-yes")]
    [TestCase("../../etc")]
    [TestCase("")]
    public void What_is_no_package_name_never_reaches_the_source(string name)
    {
        Assert.That(
            async () => await _store.DebianAsync([name]), Refused.Saying("is no name of a Debian package"));
        Assert.That(_source.Questions, Is.Zero);
    }

    [Test]
    public void Offline_without_a_stored_guest_says_what_failed()
    {
        _source.IsOffline = true;

        Assert.That(async () => await _store.DebianAsync(), Throws.TypeOf<PackageUnavailableException>());
    }

    [Test]
    public async Task Two_stores_on_one_folder_build_one_guest()
    {
        DebianGuest[] guests = await Task.WhenAll(
            _store.DebianAsync(),
            new GuestStore(_folder, _source).DebianAsync(),
            new GuestStore(_folder, _source).DebianAsync());

        Assert.That(guests.Select(guest => guest.Folder).Distinct().Count(), Is.EqualTo(1));
        Assert.That(_source.Downloads, Is.EqualTo(1));
    }

    [Test]
    public async Task What_an_ended_process_left_behind_is_removed()
    {
        Directory.CreateDirectory(Path.Combine(_folder, "new-1234"));

        await _store.DebianAsync();

        Assert.That(Directory.GetDirectories(_folder, "new-*"), Is.Empty);
    }

    [Test]
    public async Task Lock_that_another_holds_is_waited_for_until_cancelled()
    {
        using var cancellation = new CancellationTokenSource(TimeSpan.FromMilliseconds(300));
        using StoreLock taken = await StoreLock.TakeAsync(_folder, CancellationToken.None);

        Assert.That(
            async () => await _store.DebianAsync(cancellation: cancellation.Token),
            Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public void Folder_that_cannot_be_written_is_refused_with_the_variable_to_set() =>
        Assert.That(
            async () => await new GuestStore("/proc/vmlab", _source).DebianAsync(),
            Refused.Saying("VMLAB_CACHE"));

    [Test]
    public void Packaged_kernel_unpacks_to_the_stored_one() =>
        Assert.That(
            KernelPayload.Unpack(BzImage.Parse(TestKernel.BzImage(), "vmlinuz").Payload, "vmlinuz"),
            Is.EqualTo(TestKernel.Vmlinux()));

    static IEnumerable<string> Paths(DebianGuest guest) =>
        CpioArchiveTests.Read(File.ReadAllBytes(guest.InitramfsPath)).Select(entry => entry.Path);
}
