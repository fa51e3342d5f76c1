using static VmLab.Tests.Migrating.Moving;

namespace VmLab.Tests.Migrating;

/// <summary>Moments in the middle of a migration: they hold no migration, and the machine whole, on the side where it ran.</summary>
public sealed class MigrationMomentTests
{
    public enum Middle { Copied, Stopped, Following, Waiting }

    static readonly TestCaseData[] s_middles =
    [
        new(Migration.PreCopy(5.Milliseconds), Middle.Copied, "a"), new(Migration.StopAndCopy(), Middle.Stopped, "a"),
        new(Migration.PreCopy(5.Milliseconds), Middle.Stopped, "a"), new(Migration.PostCopy(5.Milliseconds), Middle.Stopped, "a"),
        new(Migration.PostCopy(5.Milliseconds), Middle.Following, "b"), new(Migration.PostCopy(5.Milliseconds), Middle.Waiting, "b"),
    ];

    string _file = "";

    [SetUp]
    public void NameFile() => _file = Path.GetTempFileName();

    [TearDown]
    public void RemoveFile() => File.Delete(_file);

    [TestCaseSource(nameof(s_middles))]
    public void The_machine_goes_on_from_the_middle(Migration how, Middle middle, string host)
    {
        (ulong Time, ulong Hash, string Text) end = default;
        Run(Calm, async (lab, vm) =>
        {
            Task<MigrationReport> migration = lab.Migrate(vm, B, how);
            await lab.Until(() => IsAt(middle, vm));
            ulong before = vm.StateHash;
            Moment moment = await lab.Snapshot("middle");
            await migration;

            await lab.Restore(moment);
            Assert.That((vm.StateHash, vm.HostName, vm.IsFrozen), Is.EqualTo((before, host, false)));
            end = await GoOn(lab);
            await using (Lab fork = await Lab.StartAsync(moment)) Assert.That(await GoOn(fork), Is.EqualTo(end));
            moment.Save(_file);
            using (Moment loaded = Moment.Load(_file, lab.Fleet))
                await using (Lab later = await Lab.StartAsync(loaded)) Assert.That(await GoOn(later), Is.EqualTo(end));

            MigrationReport again = await lab.Migrate(vm, host == "a" ? B : A, how);
            Assert.That(again.Outcome, Is.EqualTo(MigrationOutcome.Completed), again.ToString());
            moment.Dispose();
            await lab.RunFor(20.Milliseconds);
            AssertWhole(vm, least: 10);
            AssertNothingLeaks(lab);
        });

        Run(Calm, async (lab, vm) =>
        {
            await RunTo(lab, vm, end.Time);
            Assert.That((vm.StateHash, vm.Console.Text), Is.EqualTo((end.Hash, end.Text)), "a run without a migration");
        });
    }

    [TestCaseSource(nameof(s_middles))]
    public void A_moment_in_the_middle_changes_nothing(Migration how, Middle middle, string host)
    {
        string quiet = "", disturbed = "";
        Run(Calm, async (lab, vm) => quiet = await Record(lab, vm, lab.Migrate(vm, B, how)));
        Run(Calm, async (lab, vm) =>
        {
            Task<MigrationReport> migration = lab.Migrate(vm, B, how);
            await lab.Until(() => IsAt(middle, vm));
            uint frames = lab.Pool.FramesInUse;
            using Moment moment = await lab.Snapshot("middle");
            Assert.That(lab.Pool.FramesInUse, Is.EqualTo(frames), "a moment takes no memory");
            disturbed = await Record(lab, vm, migration);
        });

        Assert.That(disturbed, Is.EqualTo(quiet));
        Assert.That(quiet, Does.Contain($"{how.Mode}: {MigrationOutcome.Completed}").And.Contain(" b "), host);
    }

    [TestCaseSource(nameof(s_middles))]
    public void A_lab_that_is_restored_forgets_the_migration(Migration how, Middle middle, string host) => Run(Calm, async (lab, vm) =>
    {
        Moment start = await lab.Snapshot("start");
        Task<MigrationReport> migration = lab.Migrate(vm, B, how);
        await lab.Until(() => IsAt(middle, vm));
        Assert.That(vm.HostName, Is.EqualTo(host));
        await lab.Restore(start);
        start.Dispose();

        await Assert.ThatAsync(() => migration, Throws.TypeOf<MomentRestoredException>());
        Assert.That((vm.HostName, vm.IsFrozen), Is.EqualTo(("a", false)));
        await lab.RunFor(50.Milliseconds);
        AssertWhole(vm, least: 10);
        AssertNothingLeaks(lab);
        Assert.That((await lab.Migrate(vm, B, how)).Outcome, Is.EqualTo(MigrationOutcome.Completed));
    });

    [TestCaseSource(nameof(s_middles))]
    public void A_lab_may_be_closed_in_the_middle(Migration how, Middle middle, string host) => Run(Calm, async (lab, vm) =>
    {
        Task<MigrationReport> migration = lab.Migrate(vm, B, how);
        await lab.Until(() => IsAt(middle, vm));
        Assert.That(vm.HostName, Is.EqualTo(host));
        await lab.DisposeAsync();

        await Assert.ThatAsync(() => migration, Throws.TypeOf<LabException>().With.Message.Contains("was closed while this was awaited"));
    });

    [Test]
    public void Moments_by_schedule_are_whole_wherever_they_fall() => Run(Hasty, async (lab, vm) =>
    {
        MomentSeries series = lab.Every(1.Milliseconds).Snapshot();
        MigrationReport report = await lab.Migrate(vm, B, Migration.Auto(3.Milliseconds));
        Assert.That((report.Outcome, report.Demanded > 0), Is.EqualTo((MigrationOutcome.Completed, true)), report.ToString());
        Assert.That(series.Kept, Has.Count.GreaterThan(20));
        int printed = vm.Console.Text.Length;

        foreach (Moment moment in series.Kept.ToArray())
        {
            await using Lab fork = await Lab.StartAsync(moment);
            await fork.RunFor(2.Milliseconds);
            AssertWhole(fork.Machines[0], least: 5);
        }
        Assert.That(vm.Console.Text, Has.Length.EqualTo(printed));
    });

    static bool IsAt(Middle middle, Vm vm) => middle switch
    {
        Middle.Copied => vm.Lab.Now >= 24.Milliseconds,
        Middle.Stopped => vm.IsFrozen,
        Middle.Following => vm.HostName == "b",
        _ => vm.HostName == "b" && vm.IsFrozen,
    };

    static async Task<(ulong, ulong, string)> GoOn(Lab lab)
    {
        Vm vm = lab.Machines[0];
        await lab.RunFor(40.Milliseconds);
        AssertWhole(vm, least: 10);
        return (vm.Powered.Machine.Now, vm.StateHash, vm.Console.Text);
    }

    static async Task<string> Record(Lab lab, Vm vm, Task<MigrationReport> migration)
    {
        MigrationReport report = await migration;
        await lab.RunFor(20.Milliseconds);
        return $"{report} {vm.HostName} {lab.StateHash():x16} {vm.Console.Text}";
    }
}
