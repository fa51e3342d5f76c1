#r "nuget: VmLab, 0.1.0"
#r "nuget: VmLab.Testing, 0.1.0"
using VmLab; using VmLab.Testing; using NUnit.Framework;

var fleet = Fleet.Define("flapping-wire").Seed(8)
    .Host("a", out var a).Host("b", out var b)
    .Wire("mgmt", out var mgmt, a, b, link => link.Rate(1.Gbps).Latency(200.Microseconds))
    .Vm("worker", out var worker, vm => vm.Boot(Guest.Debian()).Memory(128.MiB).On(a));

await Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();
    await lab[worker].Shell("(while :; do date +%s >>/srv/log; sleep 0.02; done) >/dev/null 2>&1 &");
    var ready = await lab.Snapshot("ready");

    // Down for 30 ms of every 100, and one frame of a hundred damaged: slower, and whole.
    lab.Inject(Fault.Link(mgmt).Down().Every(100.Milliseconds).For(30.Milliseconds));
    lab.Inject(Fault.Link(mgmt).Corrupt(0.01).For(60.Seconds));
    var report = await lab.Migrate(worker, b, Migration.PreCopy(25.Milliseconds));
    WriteLine(report);
    Assert.That(report.Outcome, Is.EqualTo(MigrationOutcome.Completed));
    Assert.That(report.Downtime, Is.LessThanOrEqualTo(25.Milliseconds));
    Assert.That(await lab[worker].Shell("sync; tail -n 1 /srv/log"), Exits.With(0));

    // Down for good: nothing is lost but the time.
    await lab.Restore(ready);
    lab.Inject(Fault.Link(mgmt).Down().At(lab.Now + 200.Milliseconds));
    report = await lab.Migrate(worker, b, Migration.PreCopy(25.Milliseconds).Patient(2.Seconds));
    WriteLine($"{report.Outcome}: {report.Reason}");
    Assert.That(report.Outcome, Is.EqualTo(MigrationOutcome.Failed));
    Assert.That(lab[worker].HostName, Is.EqualTo("a"));
    Assert.That(await lab[worker].Shell("tail -n 1 /srv/log"), Exits.With(0));
});
