#r "nuget: VmLab, 0.1.0"
#r "nuget: VmLab.Testing, 0.1.0"
using VmLab; using VmLab.Testing; using NUnit.Framework;

var fleet = Fleet.Define("quickstart").Seed(7)
    .Vm("alice", out var alice, vm => vm.Boot(Guest.Debian()).Memory(128.MiB))
    .Vm("bob",   out var bob,   vm => vm.Boot(Guest.Debian()).Memory(128.MiB))
    .Lan("lan",  out var lan, [alice, bob], link => link.Latency(1.Milliseconds));

await Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();                                        // unmodified Debian, up to its shell
    var ready = await lab.Snapshot("ready");

    Assert.That(await lab[alice].Shell("ping -c 3 bob"), Exits.With(0));
    WriteLine("alice reaches bob");

    lab.Inject(Fault.Link(lan).Partition([alice], [bob]).For(5.Seconds));
    Assert.That(await lab[alice].Shell("ping -c 1 -W 1 bob"), Exits.With(1));
    WriteLine("parted, she does not");
    await lab.RunFor(5.Seconds);
    Assert.That(await lab[alice].Shell("ping -c 1 -W 1 bob"), Exits.With(0));
    WriteLine("five seconds later she does again");

    await lab.Restore(ready);                                // everything as it was, to the last bit
    Assert.That(lab.Now, Is.EqualTo(ready.Time));
    WriteLine($"back to {lab.Now.TotalSeconds:0.0} s of guest time");
});
