using static VmLab.Tests.Migrating.Moving;

namespace VmLab.Tests.Migrating;

/// <summary>The wire is cut at every frame of a migration: one side has the machine, and one alone, and the report says which.</summary>
public sealed class MigrationCutTests
{
    static readonly Migration[] s_modes =
        [Migration.StopAndCopy(), Migration.PreCopy(5.Milliseconds), Migration.PostCopy(5.Milliseconds), Migration.Auto(5.Milliseconds)];

    static Fleet Small => Hosts().Vm("one", vm => vm.Boot(Guest.Program(asm => Scribble(asm, pages: 16, pause: 8_000))).Memory(6.MiB).On(A));

    [TestCaseSource(nameof(s_modes))]
    public void Cut_for_good(Migration how)
    {
        HashSet<MigrationOutcome> seen = AtEveryFrame(how.Patient(70.Milliseconds), Fault.Link(Cable).Down());

        Assert.That(seen, Does.Contain(MigrationOutcome.Failed).And.Contain(MigrationOutcome.Completed));
        Assert.That(seen.Contains(MigrationOutcome.Lost), Is.EqualTo(how.Mode == MigrationMode.PostCopy));
    }

    [TestCaseSource(nameof(s_modes))]
    public void Cut_for_a_while(Migration how) =>
        Assert.That(AtEveryFrame(how, Fault.Link(Cable).Down().For(8.Milliseconds)), Is.EqualTo(new[] { MigrationOutcome.Completed }));

    static HashSet<MigrationOutcome> AtEveryFrame(Migration how, Fault cut)
    {
        ulong frames = 0;
        Run(Small, async (lab, vm) =>
        {
            await lab.Migrate(vm, B, how);
            frames = lab[Cable].Counters.Frames;
        });
        var seen = new HashSet<MigrationOutcome>();
        for (int frame = 1; frame <= (int)frames; frame++)
            Run(Small, async (lab, vm) =>
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
                AssertWhole(vm, least: isLost ? 0 : 10);
                AssertNothingLeaks(lab);
            });
        return seen;
    }
}
