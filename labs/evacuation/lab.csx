#r "nuget: VmLab, 0.1.0"
#r "nuget: VmLab.Testing, 0.1.0"
using VmLab; using VmLab.Testing; using NUnit.Framework;

var fleet = Fleet.Define("evacuation").Seed(5)
    .Host("old", out var old).Host("new", out var other, host => host.Memory(384.MiB))
    .Wire("mgmt", out var mgmt, old, other, link => link.Rate(2.Gbps).Latency(100.Microseconds));
foreach (var name in new[] { "one", "two", "three" })
    fleet = fleet.Vm(name, vm => vm.Boot(Guest.Debian()).Memory(128.MiB).On(old));

await Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();
    foreach (var machine in lab.Machines) await machine.Shell("(while :; do date +%s >>/srv/log; sleep 0.1; done) >/dev/null 2>&1 &");
    var ready = await lab.Snapshot("ready");

    var start = lab.Now;
    foreach (var machine in lab.Machines) Tell(await lab.Migrate(machine, other, Migration.PreCopy(30.Milliseconds)));
    WriteLine($"one by one: the host is empty after {(lab.Now - start).TotalMilliseconds:0} ms");

    await lab.Restore(ready);                                       // all three are on the old host again
    Assert.That(lab.Machines.Select(machine => machine.HostName), Is.All.EqualTo("old"));
    start = lab.Now;
    var moves = lab.Machines.Select(machine => lab.Migrate(machine, other, Migration.PreCopy(30.Milliseconds))).ToArray();
    foreach (var move in moves) Tell(await move);
    WriteLine($"all at once: the host is empty after {(lab.Now - start).TotalMilliseconds:0} ms");

    await lab.RunFor(1.Seconds);
    foreach (var machine in lab.Machines) Assert.That(await machine.Shell("test $(wc -l </srv/log) -gt 10"), Exits.With(0));
});

static void Tell(MigrationReport report)
{
    WriteLine($"{report.Machine,-6} {report.Outcome}, total {report.Total.TotalMilliseconds:0.0} ms, downtime {report.Downtime.TotalMilliseconds:0.0} ms");
    Assert.That(report.Outcome, Is.EqualTo(MigrationOutcome.Completed));
}
