using static VmLab.Tests.Migrating.Moving;

namespace VmLab.Tests.Migrating;

/// <summary>A migration is part of the run: whatever the host does, its report is the same to the byte.</summary>
public sealed class MigrationDeterminismTests
{
    static readonly Migration[] s_modes =
    [
        Migration.StopAndCopy(), Migration.PreCopy(4.Milliseconds).Throttle(), Migration.PostCopy(4.Milliseconds),
        Migration.Auto(4.Milliseconds).Compress(),
    ];

    static readonly Fleet s_fleet = Hosts()
        .Vm("one", vm => vm.Boot(Guest.Program(asm => Scribble(asm, pages: 64, pause: 30_000))).Memory(8.MiB).On(A))
        .Vm("two", vm => vm.Boot(Guest.Program(asm => Scribble(asm, pages: 128, pause: 500))).Memory(8.MiB).On(A))
        .Vm("three", vm => vm.Boot(Guest.Program(asm => Scribble(asm, pages: 16, pause: 90_000))).Memory(6.MiB).On(B));

    [TestCaseSource(nameof(s_modes))]
    public void A_run_is_the_same_on_any_number_of_threads_in_any_order_beside_load(Migration how)
    {
        string reference = Record(how, new LabOptions { Threads = 1 });
        using var load = new HostLoad();

        Assert.That(Record(how, new LabOptions { Threads = 2, ShuffleSeed = 1 }), Is.EqualTo(reference));
        Assert.That(Record(how, new LabOptions { Threads = 4, ShuffleSeed = 2 }), Is.EqualTo(reference));
    }

    [TestCaseSource(nameof(s_modes))]
    public void A_run_is_the_same_on_every_engine(Migration how)
    {
        string reference = Record(how, new LabOptions { Engine = Engine.Interpreter });

        Assert.That(Record(how, new LabOptions { Engine = Engine.Auto }), Is.EqualTo(reference));
        Assert.That(Record(how, new LabOptions { Lockstep = 50_000 }), Is.EqualTo(reference));
    }

    [Test]
    public void Another_seed_keeps_the_wire_another_way() => Assert.That(
        Record(Migration.StopAndCopy(), new LabOptions { Seed = 4 }), Is.Not.EqualTo(Record(Migration.StopAndCopy(), new LabOptions())));

    /// <summary>All that a script can see of three migrations at once, over a wire that loses frames.</summary>
    static string Record(Migration how, LabOptions options)
    {
        string record = "";
        Run(s_fleet, async (lab, _) =>
        {
            lab.Inject(Fault.Link(Cable).Loss(0.02));
            lab.Inject(Fault.Link(Cable).Reorder(0.05, by: 1.Milliseconds));
            MigrationReport[] reports = await Task.WhenAll(lab.Machines.Select(vm => lab.Migrate(vm, vm.HostName == "a" ? B : A, how)));
            await lab.RunFor(10.Milliseconds);
            foreach (Vm vm in lab.Machines) AssertWhole(vm);
            record = $"{string.Join('\n', reports.AsEnumerable())}\n{lab.StateHash():x16} {lab.Now}\n{string.Join('\n', lab.Timeline)}\n"
                + string.Join('\n', lab.Machines.Select(vm => $"{vm.HostName} {vm.Retired} {vm.Console.Text}"));
        }, options);
        return record;
    }
}
