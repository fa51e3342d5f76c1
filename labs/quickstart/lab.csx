#r "nuget: VmLab, 0.1.0"
#r "nuget: VmLab.Testing, 0.1.0"
using VmLab; using VmLab.Testing; using NUnit.Framework;

var fleet = Fleet.Define("quickstart").Seed(7)
    .Vm("alice", out var alice, vm => vm.Boot(Guest.Debian()).Memory(128.MiB))
    .Vm("bob",   out var bob,   vm => vm.Boot(Guest.Debian()).Memory(128.MiB));

await Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();                                        // unmodified Debian, twice, up to its shell

    Assert.That(await lab[alice].Shell("hostname"), Prints.Exactly("alice"));
    Assert.That(await lab[bob].Shell("uname -s -m"), Prints.Exactly("Linux x86_64"));
    WriteLine("two machines are up, each with Debian's own kernel");

    await lab[bob].Files.Put("/tmp/greeting", "hello from outside\n");
    Assert.That(await lab[bob].Shell("cat /tmp/greeting"), Prints.Exactly("hello from outside"));
    Assert.That(await lab[bob].Shell("cat /tmp/nothing"), Exits.With(1));
    WriteLine($"bob has a file: {(await lab[bob].Files.GetText("/tmp/greeting")).Trim()}");

    var before = lab.Now;                                    // an hour for alice, ten seconds for bob, side by side
    var naps = await Task.WhenAll(
        lab[alice].Shell("sleep 3600", within: 2 * 3600.Seconds), lab[bob].Shell("sleep 10"));
    Assert.That(naps, Has.All.Matches(Exits.With(0)));
    WriteLine($"they slept for {(lab.Now - before).TotalSeconds:0} s of guest time");

    lab[alice].Console.Send("echo $((6 * 7))\n");            // the shell on the serial console, as one would type
    await lab[alice].Console.Expect("\n42\n");
    WriteLine("alice's console says 42");

    Assert.That(await lab[alice].Shell("sleep 1000", within: 3.Seconds), Is.Not.Matches(Exits.With(0)));
    WriteLine("a command that takes too long is ended at its limit, in guest time");
});
