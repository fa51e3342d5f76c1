#r "nuget: VmLab, 0.1.0"
#r "nuget: VmLab.Testing, 0.1.0"
using VmLab; using VmLab.Testing; using NUnit.Framework;

var fleet = Fleet.Define("dirtying").Seed(13)
    .Host("a", out var a).Host("b", out var b)
    .Wire("mgmt", out var mgmt, a, b, link => link.Rate(400.Mbps).Latency(200.Microseconds))
    .Vm("db", out var db, vm => vm.Boot(Guest.Debian()).Memory(128.MiB).On(a));

await Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();
    await lab[db].Shell("(while :; do yes row | dd of=/srv/table bs=1M count=16 iflag=fullblock conv=notrunc; done) >/dev/null 2>&1 &");
    var ready = await lab.Snapshot("ready");

    foreach (var (name, how, expected) in new[]
    {
        ("pre-copy alone", Migration.PreCopy(30.Milliseconds).Rounds(8), MigrationOutcome.NotConverged),
        ("throttled", Migration.PreCopy(30.Milliseconds).Throttle(), MigrationOutcome.Completed),
        ("post-copy for the rest", Migration.Auto(30.Milliseconds), MigrationOutcome.Completed),
    })
    {
        await lab.Restore(ready);
        var report = await lab.Migrate(db, b, how);
        WriteLine($"== {name}");
        WriteLine(report);
        Assert.That(report.Outcome, Is.EqualTo(expected));
        Assert.That(lab[db].HostName, Is.EqualTo(expected == MigrationOutcome.Completed ? "b" : "a"));
        Assert.That(await lab[db].Shell("head -c 1M /srv/table | grep -vc row"), Prints.Exactly("0"));
    }
});
