namespace VmLab.Tests.Debian;

/// <summary>Four Debian machines under network traffic, disk writes and faults: what the host does must not show.</summary>
[Explicit("Boots twelve Debian kernels, most of them beside host load."), Category("Slow")]
public sealed class BusyFleetTests
{
    static readonly Fleet s_fleet = Fleet.Define("busy").Seed(42)
        .Vm("web", out s_web, Machine).Vm("client", out s_client, Machine).Vm("pinger", out s_pinger, Machine).Vm("writer", out s_writer, Machine)
        .Lan("lan", out s_lan, [s_web, s_client, s_pinger, s_writer], link => link.Latency(1.Milliseconds).Jitter(200.Microseconds));

    static readonly VmRef s_web, s_client, s_pinger, s_writer;
    static readonly LinkRef s_lan;

    [Test]
    public void A_busy_fleet_does_the_same_on_1_2_and_4_threads_beside_load()
    {
        Run reference = Record(new LabOptions { Threads = 1 });
        using var load = new HostLoad();

        Assert.That(reference.Outputs, Does.Contain("0% packet loss"));
        Assert.That(Record(new LabOptions { Threads = 2, ShuffleSeed = 1 }), Is.EqualTo(reference));
        Assert.That(Record(new LabOptions { Threads = 4, ShuffleSeed = 2 }), Is.EqualTo(reference));
    }

    static Run Record(LabOptions options)
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, "busy"), hashes = Path.Combine(folder, "hashes.txt");
        Directory.CreateDirectory(folder);
        string outputs = "", state = "";
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(s_fleet);
            await lab.Boot();
            await lab[s_web].Shell("dd if=/dev/urandom of=/srv/file bs=64k count=32 2>/dev/null; httpd -h /srv");
            lab.Inject(Fault.Cpu(s_client).Stall(30.Milliseconds).Every(400.Milliseconds));
            lab.Inject(Fault.Clock(s_pinger).Drift(20_000).At(lab.Now + 300.Milliseconds));
            lab.Inject(Fault.Clock(s_writer).Jump(5.Seconds).At(lab.Now + 500.Milliseconds));
            ShellResult[] results = await Task.WhenAll(
                lab[s_client].Shell("for i in 1 2 3; do wget -qO- http://web/file | sha256sum; done"),
                lab[s_pinger].Shell("ping -c 20 -i 0.05 web"),
                lab[s_writer].Shell("for i in 1 2 3; do dd if=/dev/urandom of=/dev/vda bs=4k count=256 conv=fsync 2>/dev/null; done; sha256sum /dev/vda"),
                lab[s_web].Shell("dd if=/dev/zero of=/dev/vda bs=64k count=64 conv=fsync 2>/dev/null; cat /proc/interrupts"));
            foreach (ShellResult result in results) outputs += result.Output;
            state = $"{lab.StateHash():x16} {lab[s_lan].StateHash:x16} {lab[s_lan].Counters}";
            lab.Save(folder);
        }, options with { Hashes = hashes });
        return new Run(outputs, state, File.ReadAllText(hashes), File.ReadAllText(Path.Combine(folder, "report.html")));
    }

    static MachineSpec Machine(MachineSpec vm) => vm.Boot(Guest.Debian()).Memory(128.MiB).Disk("data", 8.MiB);

    sealed record Run(string Outputs, string State, string Hashes, string Report);
}
