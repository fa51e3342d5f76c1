using VmLab.Testing;

namespace VmLab.Tests.Debian;

/// <summary>Two stock Debian machines on a network: booted once, forked for each test.</summary>
public sealed class PairTests
{
    static readonly Fleet s_fleet = Fleet.Define("pair").Seed(7)
        .Vm("alice", out s_alice, vm => vm.Boot(Guest.Debian()).Memory(128.MiB))
        .Vm("bob", out s_bob, vm => vm.Boot(Guest.Debian()).Memory(128.MiB))
        .Lan("lan", out s_lan, [s_alice, s_bob], link => link.Latency(1.Milliseconds).Jitter(50.Microseconds));

    static readonly VmRef s_alice, s_bob;
    static readonly LinkRef s_lan;

    Moment? _booted;

    [Test]
    public void Machines_know_and_reach_each_other_by_name() => OnPair(async lab =>
    {
        Assert.That(await lab[s_alice].Shell("ping -c 3 bob"), Prints.Containing("3 packets transmitted, 3 packets received"));
        Assert.That(await lab[s_bob].Shell("nslookup 10.0.0.1 && nslookup alice"), Prints.Containing("name = alice"));
        Assert.That(await lab[s_bob].Shell("ping -c 1 carol"), Exits.With(1));
    });

    [TestCase(1)]
    [TestCase(16, Explicit = true, Category = "Slow")]
    public void A_file_comes_over_whole(int mebibytes) => OnPair(async lab =>
    {
        Assert.That(await lab[s_bob].Shell($"dd if=/dev/urandom of=/srv/file bs=1M count={mebibytes} && httpd -h /srv"), Exits.With(0));
        ShellResult sent = await lab[s_bob].Shell("sha256sum </srv/file");

        Assert.That(await lab[s_alice].Shell("wget -qO- http://bob/file | sha256sum"), Prints.Exactly(sent.Output));

        Assert.That(lab[s_lan].Counters.Bytes, Is.InRange(mebibytes << 20, mebibytes * 5 << 18));
    });

    [Test]
    public void A_word_comes_over_by_nc() => OnPair(async lab =>
    {
        Task<ShellResult> heard = lab[s_bob].Shell("nc -l -p 1234");
        await lab.RunFor(50.Milliseconds);

        Assert.That(await lab[s_alice].Shell("echo hello | nc bob 1234"), Exits.With(0));

        Assert.That(await heard, Prints.Exactly("hello"));
    });

    [Test]
    public void Frames_under_way_are_in_a_moment() => OnPair(async lab =>
    {
        const string Command = "ping -c 5 -i 0.01 bob";
        Task<ShellResult> running = lab[s_alice].Shell(Command);
        await lab.Until(() => lab[s_lan].Inboxes.Any(inbox => inbox.NextAt != ulong.MaxValue));
        using Moment middle = await lab.Snapshot("in the middle");
        string expected = (await running).Output + lab.StateHash();

        await lab.Restore(middle);
        string restored = (await lab[s_alice].Resume(Command)).Output + lab.StateHash();
        await using Lab fork = await Lab.StartAsync(middle, new LabOptions { Threads = 2 });
        string forked = (await fork[s_alice].Resume(Command)).Output + fork.StateHash();
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "pair.moment");
        middle.Save(file);
        using Moment loaded = Moment.Load(file);
        await using Lab read = await Lab.StartAsync(loaded);
        string filed = (await read[s_alice].Resume(Command)).Output + read.StateHash();

        Assert.That((restored, forked, filed), Is.EqualTo((expected, expected, expected)));
    });

    [Test]
    public void Sleep_that_is_left_out_does_not_show() => OnPair(async lab =>
    {
        const string Command = "for i in 1 2 3; do sleep 5; ping -c 1 bob; done; cat /proc/uptime /proc/interrupts";
        using Moment start = await lab.Snapshot("start");
        string quick = (await lab[s_alice].Shell(Command)).Output + lab.StateHash();

        await lab.Restore(start);
        using IDisposable always = lab.Always("every quantum's end is looked at", () => true);
        string slow = (await lab[s_alice].Shell(Command)).Output + lab.StateHash();

        Assert.That(quick, Is.EqualTo(slow));
    });

    [OneTimeTearDown]
    public void Forget() => _booted?.Dispose();

    void OnPair(Func<Lab, Task> script) => Pump.Run(async () =>
    {
        _booted ??= await Boot();
        await using Lab lab = await Lab.StartAsync(_booted, new LabOptions { Threads = 1 });
        await script(lab);
    });

    static async Task<Moment> Boot()
    {
        await using Lab lab = await Lab.StartAsync(s_fleet);
        await lab.Boot();
        return await lab.Snapshot("booted");
    }
}
