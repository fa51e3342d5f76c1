#r "nuget: VmLab, 0.1.0"
#r "nuget: VmLab.Testing, 0.1.0"
using VmLab; using VmLab.Testing; using NUnit.Framework;

VmRef a, b, c;
LinkRef lan;
var fleet = Fleet.Define("partition").Seed(3)
    .Vm("a", out a, vm => vm.Boot(Guest.Debian()).Memory(96.MiB))
    .Vm("b", out b, vm => vm.Boot(Guest.Debian()).Memory(96.MiB))
    .Vm("c", out c, vm => vm.Boot(Guest.Debian()).Memory(96.MiB))
    .Lan("lan", out lan, [a, b, c], link => link.Latency(2.Milliseconds).Jitter(1.Milliseconds));

// Asks each machine's replica, from inside, what it thinks.
async Task<string> Ask(Lab lab, string what)
{
    var said = await Task.WhenAll(new[] { a, b, c }.Select(vm => lab[vm].Shell($"cat /srv/{what}")));
    return string.Join(" ", said.Select(result => result.Output.Trim()));
}

// A client's write: kept if the replica has a leader that says it is one.
Task<ShellResult> Write(Lab lab, VmRef at, string value) =>
    lab[at].Shell($"read -r l </srv/leader; [ $l = {at} ] && read -r n rest </srv/value && echo $((n + 1)) {value} >/srv/value");

await Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();
    var replica = File.ReadAllText(Path.Combine("labs", "partition", "replica.sh"));
    foreach (var vm in new[] { a, b, c })
    {
        await lab[vm].Files.Put("/tmp/replica.sh", replica);
        var others = string.Join(" ", new[] { a, b, c }.Where(other => other != vm));
        await lab[vm].Shell($"setsid sh /tmp/replica.sh {vm} {others} </dev/null >/dev/null 2>&1 &");
    }

    await lab.RunFor(5.Seconds);
    Assert.That(await Ask(lab, "leader"), Is.EqualTo("a a a"));
    WriteLine("all three follow a");
    Assert.That(await Write(lab, a, "apple"), Exits.With(0));
    await lab.RunFor(5.Seconds);
    Assert.That(await Ask(lab, "value"), Is.EqualTo("1 apple 1 apple 1 apple"));
    WriteLine("what a takes is everywhere");

    lab.Inject(Fault.Link(lan).Partition([a], [b, c]).For(20.Seconds));
    await lab.RunFor(10.Seconds);
    Assert.That(await Ask(lab, "leader"), Is.EqualTo("none b b"));
    WriteLine("cut off, a follows nobody; b and c, a majority, follow b");
    Assert.That(await Write(lab, a, "avocado"), Exits.With(1));
    Assert.That(await Write(lab, b, "banana"), Exits.With(0));
    await lab.RunFor(5.Seconds);
    Assert.That(await Ask(lab, "value"), Is.EqualTo("1 apple 2 banana 2 banana"));
    WriteLine("a refuses a write; what b takes is at b and c");

    await lab.RunFor(15.Seconds);
    Assert.That(await Ask(lab, "leader"), Is.EqualTo("a a a"));
    Assert.That(await Ask(lab, "value"), Is.EqualTo("2 banana 2 banana 2 banana"));
    Assert.That(lab.Unfired, Is.Empty);
    WriteLine("healed: all follow a again, and a has what it missed");
});
