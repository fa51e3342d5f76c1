#r "nuget: VmLab, 0.1.0"
#r "nuget: VmLab.Testing, 0.1.0"
using VmLab; using VmLab.Testing; using NUnit.Framework;

Func<MachineSpec, MachineSpec> debian = vm => vm.Boot(Guest.Debian()).Memory(96.MiB);
var fleet = Fleet.Define("partition").Seed(3)
    .Vm("a", out var a, debian).Vm("b", out var b, debian).Vm("c", out var c, debian)
    .Lan("lan", out var lan, [a, b, c], link => link.Latency(2.Milliseconds).Jitter(1.Milliseconds));

VmRef[] replicas = [a, b, c];
string Others(VmRef own) => string.Join(" ", replicas.Where(other => other != own));

await Lab.RunAsync(fleet, async lab =>
{
    // What a, b and c hold to be so, in this order.
    const string Leaders = "cat /srv/leader", Values = "cut -d ' ' -f 2 /srv/value";
    async Task<string> Ask(string command)
    {
        var said = await Task.WhenAll(replicas.Select(vm => lab[vm].Shell(command)));
        return string.Join(" ", said.Select(result => result.Output.Trim()));
    }
    Task<ShellResult> Put(VmRef at, string text) => lab[at].Shell($"sh /tmp/put.sh {text} {at} {Others(at)}");

    await lab.Boot();
    foreach (var vm in replicas)
    {
        await lab[vm].Files.Put("/tmp/replica.sh", System.IO.File.ReadAllText("labs/partition/replica.sh"));
        await lab[vm].Files.Put("/tmp/put.sh", System.IO.File.ReadAllText("labs/partition/put.sh"));
        await lab[vm].Shell($"sh /tmp/replica.sh {vm} {Others(vm)} >/dev/null 2>&1 &");
    }
    await lab.RunFor(5.Seconds);
    Assert.That(await Ask(Leaders), Is.EqualTo("a a a"));
    Assert.That(await Put(a, "apple"), Prints.Exactly("kept"));
    await lab.RunFor(3.Seconds);
    Assert.That(await Ask(Values), Is.EqualTo("apple apple apple"));
    WriteLine("all three follow a, and have what it took");

    lab.Inject(Fault.Link(lan).Partition([a], [b, c]).For(30.Seconds));
    Assert.That(await Put(a, "avocado"), Prints.Exactly("unsure: no majority has it"));   // it has not noticed yet
    Assert.That(await Ask(Leaders), Is.EqualTo("none b b"));
    WriteLine("cut off, a cannot keep a write and leads nobody; b and c follow b");
    Assert.That(await Put(a, "apricot"), Prints.Exactly("refused: the leader is none"));
    Assert.That(await Put(b, "banana"), Prints.Exactly("kept"));
    await lab.RunFor(3.Seconds);
    Assert.That(await Ask(Values), Is.EqualTo("avocado banana banana"));
    WriteLine("a refuses the next write; what b took is at b and c");

    await lab.RunFor(15.Seconds);                                                        // the partition is over for four of them
    Assert.That(await Ask(Leaders), Is.EqualTo("a a a"));
    Assert.That(await Ask(Values), Is.EqualTo("banana banana banana"));
    WriteLine("healed, all follow a again: the write that was kept is everywhere, the unsure one is gone");
});
