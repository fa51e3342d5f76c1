using VmLab.Core;
using VmLab.Testing;
using VmLab.Tests.Migrating;

namespace VmLab.Tests.Debian;

/// <summary>A stock Debian under load moves between hosts: its downloads, commands, leases, hooks and disks go on.</summary>
public sealed class DebianMigrationTests
{
    static readonly Fleet s_fleet = Fleet.Define("migration").Seed(3)
        .Host("a", out s_a).Host("b", out s_b)
        .Wire("mgmt", out s_mgmt, s_a, s_b, link => link.Rate(1.Gbps).Latency(200.Microseconds))
        .Vm("web", out s_web, vm => vm.Boot(Guest.Debian()).Memory(128.MiB).Disk("data", 16.MiB).On(s_a))
        .Vm("client", out s_client, vm => vm.Boot(Guest.Debian()).Memory(128.MiB))
        .Lan("lan", out s_lan, [s_web, s_client]);

    static readonly HostRef s_a, s_b;
    static readonly LinkRef s_mgmt, s_lan;
    static readonly VmRef s_web, s_client;

    static readonly Migration[] s_modes =
        [Migration.PreCopy(20.Milliseconds), Migration.PostCopy(20.Milliseconds), Migration.StopAndCopy(), Migration.Auto(20.Milliseconds).Compress()];

    // Those in which the machine stands still only for a moment.
    static readonly Migration[] s_live = [.. s_modes.Where(how => how.Mode != MigrationMode.StopAndCopy)];

    Moment? _serving;

    [TestCaseSource(nameof(s_modes))]
    public void A_download_goes_on_through_it(Migration how) => OnPair(async lab =>
    {
        const string Address = "ip -4 -o addr show; cat /etc/resolv.conf; hostname";
        ShellResult sum = await lab[s_web].Shell("sha256sum </srv/file"), address = await lab[s_web].Shell(Address);
        lab.Always("the kernel lives", () => !lab[s_web].Linux.Panicked);
        using Hook<BreakpointHit> writes = lab[s_web].Cpu.BreakAt("vfs_write");
        Task<ShellResult> download = lab[s_client].Shell("wget -qO- http://web/file | sha256sum"),
            counting = lab[s_web].Shell("i=0; while [ $i -lt 60 ]; do i=$((i + 1)); echo $i; sleep 0.05; done");
        lab.Inject(Fault.Link(s_mgmt).Down().At(lab.Now + 150.Milliseconds).For(40.Milliseconds));

        MigrationReport report = await lab.Migrate(s_web, s_b, how);

        TestContext.Out.WriteLine(report);
        Assert.That((report.Outcome, lab[s_web].HostName), Is.EqualTo((MigrationOutcome.Completed, "b")), report.ToString());
        if (how.Mode != MigrationMode.StopAndCopy) Assert.That(report.Downtime, Is.LessThanOrEqualTo(how.Downtime));
        Assert.That(await download, Prints.Exactly(sum.Output));
        Assert.That(await counting, Prints.Exactly(string.Join('\n', Enumerable.Range(1, 60))));
        int before = writes.Hits;
        Assert.That(await lab[s_web].Shell(Address), Prints.Exactly(address.Output));
        Assert.That(writes.Hits, Is.GreaterThan(before));
        Assert.That(lab[s_web], Has.No.KernelOops());
        Assert.That(await lab[s_web].Shell("md5sum /srv/file /bin/busybox"), Exits.With(0));
    });

    [Test]
    public void Pings_come_once_and_none_is_lost([ValueSource(nameof(s_live))] Migration how) => OnPair(async lab =>
    {
        Task<ShellResult> pings = lab[s_client].Shell("ping -c 100 -i 0.02 -W 5 web");
        await lab.RunFor(100.Milliseconds);

        MigrationReport report = await lab.Migrate(s_web, s_b, how);

        Assert.That(report.Outcome, Is.EqualTo(MigrationOutcome.Completed), report.ToString());
        ShellResult result = await pings;
        Assert.That(result, Prints.Containing("100 packets transmitted, 100 packets received, 0% packet loss"));
        Assert.That(result.Output, Does.Not.Contain("DUP"));
    });

    [Test]
    public void A_kernel_that_is_lost_is_not_looked_into() => OnPair(async lab =>
    {
        Vm web = lab[s_web];
        lab.Always("the kernel lives", () => !web.Linux.Panicked);
        Assert.That(web.Linux.Tasks, Is.Not.Empty);
        Task<MigrationReport> migration = lab.Migrate(s_web, s_b, Migration.PostCopy(20.Milliseconds).Patient(100.Milliseconds));
        await lab.Until(() => web.HostName == "b");
        lab.Inject(Fault.Link(s_mgmt).Down());

        Assert.That((await migration).Outcome, Is.EqualTo(MigrationOutcome.Lost));
        await lab.RunFor(10.Milliseconds);
        Assert.That(() => web.Linux.Tasks, Throws.InstanceOf<LabException>().With.Message.Contains("was lost by a migration"));
        await web.PowerCycle();
        Assert.That(web.Linux.Tasks, Is.Not.Empty);
    });

    /// <summary>Random plans, and random things that befall the wire: wherever the machine runs then, its client gets the file as it is.</summary>
    [Test, Explicit, Category("Slow")]
    public void Forty_downloads_go_on_through_random_migrations([Range(1, 40)] int seed) => OnPair(async lab =>
    {
        var random = Rng.FromSeed((ulong)seed);
        Migration how = Moving.RandomPlan(ref random);
        ShellResult sum = await lab[s_web].Shell("sha256sum </srv/file");
        lab.Always("the kernel lives", () => !lab[s_web].Linux.Panicked);
        Task<ShellResult> download = lab[s_client].Shell("for i in 1 2 3; do wget -qO- http://web/file | sha256sum; done");
        await lab.RunFor(20.Milliseconds);
        List<Fault> faults = Moving.RandomFaults(ref random, lab.Now, slower: 10);
        faults.ForEach(lab.Inject);

        MigrationReport report = await lab.Migrate(s_web, s_b, how);

        string story = $"{string.Join(", ", faults)}\n{report}";
        TestContext.Out.WriteLine(story);
        bool isLost = report.Outcome == MigrationOutcome.Lost, isThere = report.Outcome == MigrationOutcome.Completed;
        Assert.That((lab[s_web].HostName, lab[s_web].HasPower), Is.EqualTo((isThere || isLost ? "b" : "a", !isLost)), story);
        Assert.That(report.Reason, isThere ? Is.Empty : Is.Not.Empty, story);
        if (isLost) return;
        if (isThere && how.Mode != MigrationMode.StopAndCopy) Assert.That(report.Downtime, Is.LessThanOrEqualTo(how.Downtime), story);
        Assert.That(await download, Prints.Exactly(string.Join('\n', Enumerable.Repeat(sum.Output.Trim(), 3))), story);
        Assert.That(lab[s_web], Has.No.KernelOops(), story);
    });

    /// <summary>All that was sent to a machine that stands still meets it when it goes on. Its answers then come faster than busybox reads them:
    /// what its socket has no room for, which is some 14 KiB, is lost in the client's kernel, and counted there.</summary>
    [Test]
    public void Pings_to_a_machine_that_stands_still_for_long_are_answered_when_it_goes_on() => OnPair(async lab =>
    {
        const string Icmp = "awk '/^IcmpMsg: [0-9]/ { print $2, $3 }' /proc/net/snmp";
        Task<ShellResult> pings = lab[s_client].Shell(
            "ping -c 100 -i 0.02 -W 5 web | awk '/packets received/ { print $4 }' & sleep 1.9; awk 'NR > 1 { print $NF }' /proc/net/raw; wait");
        await lab.RunFor(100.Milliseconds);

        MigrationReport report = await lab.Migrate(s_web, s_b, Migration.StopAndCopy());

        Assert.That(report.Outcome, Is.EqualTo(MigrationOutcome.Completed), report.ToString());
        Assert.That(report.Downtime, Is.GreaterThan(500.Milliseconds));
        Assert.That((await pings).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Sum(int.Parse), Is.EqualTo(100), "dropped and received");
        foreach (VmRef vm in new[] { s_web, s_client }) Assert.That(await lab[vm].Shell(Icmp), Prints.Exactly("100 100"));
        Assert.That((lab[s_lan].Counters.Dropped, lab[s_lan].Counters.Lost), Is.EqualTo((0, 0)));
    });

    [Test]
    public void A_file_system_outlives_a_power_cut_after_it() => OnPair(async lab =>
    {
        Assert.That(await lab[s_web].Shell("mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && echo kept >/mnt/kept && sync"), Exits.With(0));
        Task<ShellResult> writing = lab[s_web].Shell("while true; do dd if=/dev/urandom of=/mnt/more bs=64k count=8 2>/dev/null; done");

        MigrationReport report = await lab.Migrate(s_web, s_b, Migration.StopAndCopy());
        Assert.That(report.Outcome, Is.EqualTo(MigrationOutcome.Completed), report.ToString());
        await lab[s_web].PowerCycle();

        Assert.That((await writing).Outcome, Is.EqualTo(ShellOutcome.PowerLost));
        // The kernel refuses a superblock that was torn between its two sectors, and e2fsck takes one of its copies.
        await lab[s_web].Shell("mount /dev/vda /mnt || { e2fsck -fy /dev/vda; mount /dev/vda /mnt; }");
        Assert.That(await lab[s_web].Shell("cat /mnt/kept"), Prints.Exactly("kept"));
    });

    [OneTimeTearDown]
    public void Forget() => _serving?.Dispose();

    void OnPair(Func<Lab, Task> script) => Pump.Run(async () =>
    {
        _serving ??= await Boot();
        await using Lab lab = await Lab.StartAsync(_serving);
        await script(lab);
    });

    static async Task<Moment> Boot()
    {
        await using Lab lab = await Lab.StartAsync(s_fleet);
        await lab.Boot();
        Assert.That(await lab[s_web].Shell("dd if=/dev/urandom of=/srv/file bs=1M count=6 && httpd -h /srv"), Exits.With(0));
        return await lab.Snapshot("serving");
    }
}
