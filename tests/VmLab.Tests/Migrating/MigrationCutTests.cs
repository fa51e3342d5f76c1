using static VmLab.Tests.Migrating.Moving;

namespace VmLab.Tests.Migrating;

/// <summary>The wire is cut at every frame of a migration: one side has the machine, and one alone, and the report says which.</summary>
public sealed class MigrationCutTests
{
    static readonly Migration[] s_modes =
        [Migration.StopAndCopy(), Migration.PreCopy(5.Milliseconds), Migration.PostCopy(5.Milliseconds), Migration.Auto(5.Milliseconds)];

    static readonly Migration s_over = Migration.Auto(6.Milliseconds).Rounds(2);

    static Fleet Small => Hosts().Vm("one", vm => vm.Boot(Guest.Program(asm => Scribble(asm, pages: 16, pause: 8_000))).Memory(6.MiB).On(A));

    // Copying what it dirties takes 7 ms.
    static Fleet Fast => Hosts(cable => cable.Rate(150.Mbps).Latency(200.Microseconds))
        .Vm("one", vm => vm.Boot(Guest.Program(asm => Scribble(asm, pages: 32, pause: 300))).Memory(6.MiB).On(A));

    [TestCaseSource(nameof(s_modes))]
    public void Cut_for_good(Migration how)
    {
        HashSet<MigrationOutcome> seen = AtEveryFrame(Small, how.Patient(70.Milliseconds), Fault.Link(Cable).Down());

        Assert.That(seen, Does.Contain(MigrationOutcome.Failed).And.Contain(MigrationOutcome.Completed));
        Assert.That(seen.Contains(MigrationOutcome.Lost), Is.EqualTo(how.Mode == MigrationMode.PostCopy));
    }

    [TestCaseSource(nameof(s_modes))]
    public void Cut_for_a_while(Migration how) =>
        Assert.That(AtEveryFrame(Small, how, Fault.Link(Cable).Down().For(8.Milliseconds)), Is.EqualTo(new[] { MigrationOutcome.Completed }));

    /// <summary>What does not converge goes over to post-copy: what breaks before stays, and what breaks after is lost, until all of it is
    /// there.</summary>
    [Test]
    public void Cut_for_good_where_pages_follow_what_was_copied() => Assert.That(
        AtEveryFrame(Fast, s_over.Patient(70.Milliseconds), Fault.Link(Cable).Down()),
        Is.EquivalentTo(new[] { MigrationOutcome.Failed, MigrationOutcome.Lost, MigrationOutcome.Completed }));

    [Test]
    public void Cut_for_a_while_where_pages_follow_what_was_copied() =>
        Assert.That(AtEveryFrame(Fast, s_over, Fault.Link(Cable).Down().For(8.Milliseconds)), Is.EqualTo(new[] { MigrationOutcome.Completed }));

    static HashSet<MigrationOutcome> AtEveryFrame(Fleet fleet, Migration how, Fault cut)
    {
        ulong frames = 0;
        Run(fleet, async (lab, vm) =>
        {
            await lab.Migrate(vm, B, how);
            frames = lab[Cable].Counters.Frames;
        });
        var seen = new HashSet<MigrationOutcome>();
        for (int frame = 1; frame <= (int)frames; frame++)
            Run(fleet, async (lab, vm) =>
            {
                lab.Inject(cut.When(Trigger.Frame(Cable, FrameMatch.Any).Nth(frame)));
                MigrationReport report = await lab.Migrate(vm, B, how);
                seen.Add(report.Outcome);
                await lab.RunFor(15.Milliseconds);

                string story = $"frame {frame}: {report}";
                Assert.That(lab.Unfired, Is.Empty, story);
                bool isLost = report.Outcome == MigrationOutcome.Lost;
                Assert.That(vm.HostName, Is.EqualTo(report.Outcome == MigrationOutcome.Completed || isLost ? "b" : "a"), story);
                Assert.That((vm.HasPower, vm.IsFrozen), Is.EqualTo((!isLost, false)), story);
                Assert.That(report.Reason, isLost || report.Outcome == MigrationOutcome.Failed ? Is.Not.Empty : Is.Empty, story);
                if (isLost) AssertLost(lab, vm, story);
                AssertWhole(vm, least: isLost ? 0 : 10);
                AssertNothingLeaks(lab);
            });
        return seen;
    }

    // It says so, and why, and stands still for good: not a letter more comes of it.
    static void AssertLost(Lab lab, Vm vm, string story)
    {
        IEnumerable<string> told = lab.Timeline.Select(entry => entry.What);
        Assert.That(told, Has.Some.EqualTo("was lost: some of its pages never came"), story);
        Assert.That(told, Has.Some.StartsWith("migration a -> b: Lost: nothing came from the destination"), story);
        Assert.That((vm.IsRunning, vm.Status), Is.EqualTo((false, Machines.MachineStatus.PoweredOff)), story);
    }
}
