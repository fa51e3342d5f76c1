using VmLab.Core;
using VmLab.Guests;
using VmLab.Running;

namespace VmLab.Tests;

public sealed class FleetTests
{
    static readonly Guest s_guest = new ScriptedGuest(_ => { });

    [Test]
    public void Machines_with_equal_disks_are_equal()
    {
        MachineSpec machine = new MachineSpec("db").Disk("data", 64.MiB), same = new MachineSpec("db").Disk("data", 64.MiB);
        Assert.That(machine, Is.EqualTo(same).And.Not.EqualTo(new MachineSpec("db").Disk("data", 65.MiB)));
    }

    [TestCase("", 512UL, "name")]
    [TestCase("my disk", 512UL, "name")]
    [TestCase("a-name-of-21-letters-x", 512UL, "name")]
    [TestCase("data", 0UL, "sectors")]
    [TestCase("data", 513UL, "sectors")]
    [TestCase("taken", 512UL, "already")]
    public void A_disk_that_will_not_do_is_refused_with_the_reason(string name, ulong size, string reason) => Assert.That(
        () => new MachineSpec("db").Disk("taken", 1.MiB).Disk(name, new ByteSize(size)),
        Throws.TypeOf<LabException>().With.Message.Contains(reason));

    [Test]
    public void A_fleet_is_a_value_that_verbs_vary()
    {
        Fleet first = Fleet.Define("f").Seed(1).Vm("a", out VmRef a, vm => vm.Boot(s_guest).Memory(64.MiB));
        Fleet second = first.Seed(2).Vm("b", vm => vm.Boot(s_guest));

        Assert.That(first.Machines.Select(machine => machine.Name), Is.EqualTo(new[] { "a" }));
        Assert.That(second.Machines.Select(machine => machine.Name), Is.EqualTo(new[] { "a", "b" }));
        Assert.That((first.RootSeed, second.RootSeed, a.Name), Is.EqualTo((1UL, 2UL, "a")));
        Assert.That(first, Is.EqualTo(Fleet.Define("f").Seed(1).Vm("a", vm => vm.Boot(s_guest).Memory(64.MiB))));
    }

    [Test]
    public void Two_machines_of_one_name_are_refused() => Assert.That(
        () => Fleet.Define("f").Vm("a", vm => vm).Vm("a", vm => vm),
        Throws.TypeOf<LabException>().With.Message.Contains("already"));

    [TestCase("")]
    [TestCase("-a")]
    [TestCase("a b")]
    [TestCase("a.b")]
    public void A_name_that_is_no_host_name_is_refused(string name) => Assert.That(
        () => new MachineSpec(name), Throws.TypeOf<LabException>().With.Message.Contains("no name for a machine"));

    [Test]
    public void A_fleet_without_machines_is_refused() => Assert.That(
        () => Scenario.Run(Fleet.Define("empty"), _ => Task.CompletedTask),
        Throws.TypeOf<LabException>().With.Message.Contains("has no machine"));

    [Test]
    public void A_machine_without_a_guest_is_refused() => Assert.That(
        () => Scenario.Run(Fleet.Define("f").Vm("a", vm => vm), _ => Task.CompletedTask),
        Throws.TypeOf<LabException>().With.Message.Contains("nothing to boot"));

    [Test]
    public void A_fleet_that_will_not_fit_is_refused_with_both_figures() => Assert.That(
        () => HostMemory.RequireRoomFor(
            Fleet.Define("f").Vm("a", vm => vm.Memory(2.GiB)).Vm("b", vm => vm.Memory(1.GiB)), free: 3.GiB),
        Throws.TypeOf<LabException>().With.Message.Contains("needs 3.06 GiB, and 3 GiB are free")
            .And.Message.Contains("a 2 GiB, b 1 GiB"));

    [Test]
    public void An_unknown_machine_is_refused_with_the_known_ones() => Scenario.Run(Scenario.One(_ => { }), lab =>
    {
        Assert.That(() => lab["carol"], Throws.TypeOf<LabException>().With.Message.Contains("it has alice"));
        return Task.CompletedTask;
    });

    [Test]
    public void Equal_guests_are_prepared_once()
    {
        int prepared = 0;
        Guest guest = new CountingGuest(() => prepared++);
        Scenario.Run(Fleet.Define("f").Vm("a", vm => vm.Boot(guest)).Vm("b", vm => vm.Boot(guest)), _ => Task.CompletedTask);

        Assert.That(prepared, Is.EqualTo(1));
    }

    sealed record CountingGuest(Action OnPrepare) : Guest
    {
        public override Task<IBootable> PrepareAsync(IProgress<string> progress, CancellationToken cancellation)
        {
            OnPrepare();
            return Task.FromResult<IBootable>(new ScriptedGuest(_ => { }));
        }
    }
}
