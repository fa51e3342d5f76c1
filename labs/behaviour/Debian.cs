namespace VmLab.Labs.Behaviour;

/// <summary>A Debian machine, booted once for all tests; each test has a fork of its own.</summary>
public abstract class Debian : LabFixture
{
    protected static readonly VmRef Box = new("box");

    static readonly Lazy<Moment> s_up = new(() =>
    {
        Moment? up = null;
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(
                Fleet.Define("behaviour").Seed(11).Vm("box", vm => vm.Boot(Guest.Debian()).Memory(128.MiB)));
            await lab.Boot();
            up = await lab.Snapshot("up");
        });
        return up!;
    });

    [OneTimeSetUp]
    public void Boot() => _ = s_up.Value;

    protected Task<Lab> Fork() => Fork(s_up.Value);
}
