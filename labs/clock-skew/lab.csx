#r "nuget: VmLab, 0.1.0"
#r "nuget: VmLab.Testing, 0.1.0"
using VmLab; using VmLab.Testing; using NUnit.Framework;
using System.Globalization;

var fleet = Fleet.Define("clock-skew").Seed(5)
    .Vm("good", out var good, vm => vm.Boot(Guest.Debian()).Memory(128.MiB))
    .Vm("bad",  out var bad,  vm => vm.Boot(Guest.Debian()).Memory(128.MiB));

await Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();

    async Task<double> Skew()                                          // seconds by which bad's clock is ahead of good's
    {
        var now = await Task.WhenAll(lab[good].Shell("cat /proc/uptime"), lab[bad].Shell("cat /proc/uptime"));
        double[] up = [.. now.Select(result => double.Parse(result.Output.Split(' ')[0], CultureInfo.InvariantCulture))];
        return up[1] - up[0];
    }

    Assert.That(await Skew(), Is.Zero.Within(0.05));
    WriteLine("both clocks agree");

    lab.Inject(Fault.Clock(bad).Drift(partsPerMillion: 20_000).For(100.Seconds));
    await lab.RunFor(100.Seconds);
    Assert.That(await Skew(), Is.EqualTo(2).Within(0.05));
    WriteLine("100 s of a clock that runs 2 % fast: 2 s ahead");

    await lab.RunFor(100.Seconds);
    Assert.That(await Skew(), Is.EqualTo(2).Within(0.05));
    WriteLine("a clock that runs right again stays 2 s ahead");

    lab.Inject(Fault.Clock(bad).Jump(1000.Seconds).At(lab.Now + 1.Seconds));
    var start = lab.Now;
    await lab[bad].Shell("sleep 500");                                 // the jump takes the sleeper with it
    Assert.That((lab.Now - start).TotalSeconds, Is.EqualTo(1).Within(0.1));
    Assert.That(await Skew(), Is.EqualTo(1002).Within(0.05));
    WriteLine("a jump of 1000 s: 1002 s ahead, and a sleep of 500 s was over after 1 s");
});
