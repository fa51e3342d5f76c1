namespace VmLab.Labs.Behaviour;

/// <summary>Tests of one Debian machine: it is booted once for all of them, and each test has a fork of its own.</summary>
public abstract class Debian : LabFixture
{
    protected static readonly VmRef Box;

    static readonly Moment s_up = Moments.Cached("up",
        Fleet.Define("behaviour").Seed(11).Vm("box", out Box, vm => vm.Boot(Guest.Debian()).Memory(128.MiB)),
        lab => lab.Boot());

    protected Task<Lab> Fork() => Fork(s_up);
}
