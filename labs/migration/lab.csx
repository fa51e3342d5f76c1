#r "nuget: VmLab, 0.1.0"
#r "nuget: VmLab.Testing, 0.1.0"
using VmLab; using VmLab.Testing; using NUnit.Framework;

var fleet = Fleet.Define("migration").Seed(3)
    .Host("a", out var a).Host("b", out var b)
    .Wire("mgmt", out var mgmt, a, b, link => link.Rate(1.Gbps).Latency(200.Microseconds))
    .Vm("web", out var web, vm => vm.Boot(Guest.Debian()).Memory(128.MiB).On(a))
    .Vm("client", out var client, vm => vm.Boot(Guest.Debian()).Memory(128.MiB))
    .Lan("lan", out var lan, [web, client]);

await Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();
    await lab[web].Shell("dd if=/dev/urandom of=/srv/16M bs=1M count=16 && httpd -h /srv");
    var sum = await lab[web].Shell("sha256sum < /srv/16M");
    lab.Always("the kernel lives", () => !lab[web].Linux.Panicked);
    var download = lab[client].Shell("wget -qO- http://web/16M | sha256sum");

    foreach (var (to, how) in new[] { (b, Migration.PreCopy(20.Milliseconds)), (a, Migration.PostCopy(20.Milliseconds)) })
    {
        var report = await lab.Migrate(web, to, how);

        WriteLine(report);
        Assert.That(report.Outcome, Is.EqualTo(MigrationOutcome.Completed));
        Assert.That(report.Downtime, Is.LessThanOrEqualTo(20.Milliseconds));     // guest time: exact, never flaky
        Assert.That(lab[web].HostName, Is.EqualTo(to.Name));
    }
    Assert.That(await download, Prints.Exactly(sum.Output));                     // one TCP connection, two hosts
    WriteLine($"the download came whole: {lab.Links[1].Counters.Frames} frames on the lan, {lab[mgmt].Counters.Frames} between the hosts");
});
