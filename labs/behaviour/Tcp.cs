namespace VmLab.Labs.Behaviour;

/// <summary>TCP between two Debian machines, on a network that misbehaves.</summary>
public sealed class Tcp : LabFixture
{
    const string Download = "wget -qO- http://server/file | sha256sum";

    static readonly VmRef s_server, s_client;
    static readonly LinkRef s_lan;

    static readonly Moment s_serving = Moments.Cached("serving",
        Fleet.Define("tcp").Seed(17)
            .Vm("server", out s_server, vm => vm.Boot(Guest.Debian()).Memory(128.MiB))
            .Vm("client", out s_client, vm => vm.Boot(Guest.Debian()).Memory(128.MiB))
            .Lan("lan", out s_lan, [s_server, s_client], link => link.Latency(1.Milliseconds)),
        async lab =>
        {
            await lab.Boot();
            await lab[s_server].Shell("dd if=/dev/urandom of=/srv/file bs=1k count=256 && httpd -h /srv");
            Assert.That(await lab[s_client].Shell("ping -c 1 server"), Exits.With(0));   // they know each other's cards
        });

    [LabTest(Seeds = 3)]
    public async Task A_file_comes_whole_over_a_network_that_loses_a_tenth()
    {
        Lab lab = await Fork(s_serving);

        await CheckDownload(lab, Fault.Link(s_lan).Loss(0.1));

        Assert.That(lab[s_lan].Counters.Lost, Is.InRange(10, 100));
        Assert.That(await Counter(lab, s_server, "RetransSegs"), Is.InRange(10, 100));
    }

    [LabTest]
    public async Task A_file_comes_whole_where_frames_are_doubled_and_overtaken()
    {
        Lab lab = await Fork(s_serving);
        lab.Inject(Fault.Link(s_lan).Duplicate(0.2));

        await CheckDownload(lab, Fault.Link(s_lan).Reorder(0.2, by: 5.Milliseconds));
    }

    [LabTest]
    public async Task Bits_that_flip_are_noticed_by_the_checksum()
    {
        Lab lab = await Fork(s_serving);

        await CheckDownload(lab, Fault.Link(s_lan).Corrupt(0.05));

        Assert.That(await Counter(lab, s_client, "InCsumErrors"), Is.GreaterThan(0));
    }

    [LabTest]
    public async Task A_connection_outlives_a_partition()
    {
        Lab lab = await Fork(s_serving);
        TimeSpan before = lab.Now;
        Task<ShellResult> download = lab[s_client].Shell(Download, within: 120.Seconds);
        lab.Inject(Fault.Link(s_lan).Partition([s_server], [s_client]).At(lab.Now + 20.Milliseconds).For(20.Seconds));

        Assert.That(await download, Prints.Exactly(await FileOf(lab)));

        Assert.That(lab.Now - before, Is.InRange(20.Seconds, 50.Seconds));   // the retransmission timer doubles, and may just have missed
    }

    [LabTest]
    public async Task A_connection_attempt_ends_after_its_retries()
    {
        Lab lab = await Fork(s_serving);
        await lab[s_client].Shell("echo 2 >/proc/sys/net/ipv4/tcp_syn_retries");
        lab.Inject(Fault.Link(s_lan).Partition([s_server], [s_client]));
        TimeSpan before = lab.Now;

        ShellResult result = await lab[s_client].Shell("nc server 80");

        Assert.That(result.Error, Does.Contain("timed out"));
        Assert.That(lab.Now - before, Is.InRange(7.Seconds, 7.Seconds * 9 / 8));   // 1, 2 and 4; a kernel's timer is an eighth late at most
    }

    [LabTest]
    public async Task A_closed_port_refuses_at_once()
    {
        Lab lab = await Fork(s_serving);
        TimeSpan before = lab.Now;

        ShellResult result = await lab[s_client].Shell("nc server 81");

        Assert.That(result.Error, Does.Contain("refused"));
        Assert.That(lab.Now - before, Is.LessThan(50.Milliseconds));
    }

    static async Task CheckDownload(Lab lab, Fault trouble)
    {
        string file = await FileOf(lab);
        lab.Inject(trouble);
        Assert.That(await lab[s_client].Shell(Download), Prints.Exactly(file));
    }

    static async Task<string> FileOf(Lab lab) => (await lab[s_server].Shell("sha256sum </srv/file")).Output;

    /// <summary>One of the kernel's own counters of TCP, by its name in /proc/net/snmp.</summary>
    static async Task<int> Counter(Lab lab, VmRef vm, string name) => int.Parse((await lab[vm].Shell(
        $"awk '/^Tcp:/ {{ if (column) print $column; for (i = 1; i <= NF; i++) if ($i == \"{name}\") column = i }}' /proc/net/snmp")).Output);
}
