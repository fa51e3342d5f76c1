using static VmLab.Tests.Migrating.Moving;

namespace VmLab.Tests.Migrating;

/// <summary>Migration between the hosts of a lab: the machine that comes is the one that went, and nobody can tell.</summary>
public sealed class MigrationTests
{
    static readonly Migration[] s_modes =
    [
        Migration.StopAndCopy(), Migration.PreCopy(5.Milliseconds), Migration.PreCopy(5.Milliseconds).Compress(),
        Migration.PostCopy(5.Milliseconds), Migration.Auto(5.Milliseconds),
    ];

    [TestCaseSource(nameof(s_modes))]
    public void A_machine_comes_as_it_went(Migration how) => Run(Calm, async (lab, vm) =>
    {
        List<(string? Host, ulong Hash)> seen = [];
        using (lab.Always("it is looked at", () => Look(vm, seen)))
        {
            MigrationReport report = await lab.Migrate(vm, B, how);
            Assert.That((report.Outcome, report.Reason, vm.HostName), Is.EqualTo((MigrationOutcome.Completed, "", "b")), report.ToString());
            if (how.Mode != MigrationMode.StopAndCopy) Assert.That(report.Downtime, Is.LessThanOrEqualTo(how.Downtime));
            Assert.That(report.Bytes, Is.GreaterThan(1 << 20));
        }

        Assert.That(seen.First(entry => entry.Host == "b").Hash, Is.EqualTo(seen.Last(entry => entry.Host == "a").Hash));
        AssertNothingLeaks(lab);
        await lab.RunFor(50.Milliseconds);
        AssertWhole(vm, least: 10);
    });

    [TestCaseSource(nameof(s_modes))]
    public void For_the_guest_nothing_has_happened(Migration how)
    {
        var (time, hash, text) = (0UL, 0UL, "");
        Run(Calm, async (lab, vm) =>
        {
            await lab.Migrate(vm, B, how);
            await lab.RunFor(50.Milliseconds);
            (time, hash, text) = (vm.Powered.Machine.Now, vm.StateHash, vm.Console.Text);
        });

        Run(Calm, async (lab, vm) =>
        {
            await RunTo(lab, vm, time);
            Assert.That((vm.Console.Text, vm.StateHash), Is.EqualTo((text, hash)));
        });
    }

    [Test]
    public void The_machine_goes_there_and_back_again() => Run(Calm, async (lab, vm) =>
    {
        foreach (HostRef to in new[] { B, A, B })
            Assert.That((await lab.Migrate(vm, to, Migration.PreCopy(5.Milliseconds))).Outcome, Is.EqualTo(MigrationOutcome.Completed));

        await lab.RunFor(50.Milliseconds);
        Assert.That(vm.HostName, Is.EqualTo("b"));
        AssertWhole(vm, least: 15);
    });

    [Test]
    public void Three_machines_leave_at_once_over_one_wire()
    {
        Fleet fleet = Hosts();
        foreach (string name in new[] { "one", "two", "three" })
            fleet = fleet.Vm(name, vm => vm.Boot(Guest.Program(asm => Scribble(asm, pages: 256, pause: 80_000))).Memory(8.MiB).On(A));
        Run(fleet, async (lab, _) =>
        {
            MigrationReport[] reports = await Task.WhenAll(lab.Machines.Select(vm => lab.Migrate(vm, B, Migration.PreCopy(8.Milliseconds))));
            await lab.RunFor(50.Milliseconds);

            Assert.That(reports.Select(report => report.Outcome), Is.All.EqualTo(MigrationOutcome.Completed), string.Join('\n', reports.AsEnumerable()));
            Assert.That(reports.Select(report => report.Downtime), Is.All.LessThanOrEqualTo(8.Milliseconds));
            Assert.That(lab.Machines.Select(vm => vm.HostName), Is.All.EqualTo("b"));
            foreach (Vm vm in lab.Machines) AssertWhole(vm, least: 10);
        });
    }

    [Test]
    public void What_dirties_too_fast_stays_and_the_report_says_why() => Run(Hasty, async (lab, vm) =>
    {
        MigrationReport report = await lab.Migrate(vm, B, Migration.PreCopy(1.Milliseconds).Rounds(5));

        Assert.That((report.Outcome, report.Rounds.Length, vm.HostName), Is.EqualTo((MigrationOutcome.NotConverged, 5, "a")));
        Assert.That(report.Reason, Does.Match("after 5 rounds [0-9]+ pages are dirty again, which takes [0-9.]+ ms to copy, not 1:"));
        await lab.RunFor(20.Milliseconds);
        AssertWhole(vm);
        AssertNothingLeaks(lab);
    });

    [Test]
    public void What_dirties_too_fast_is_slowed_down_until_it_goes() => Run(Hasty, async (lab, vm) =>
    {
        MigrationReport report = await lab.Migrate(vm, B, Migration.PreCopy(5.Milliseconds).Throttle());

        Assert.That(report.Outcome, Is.EqualTo(MigrationOutcome.Completed), report.ToString());
        Assert.That(report.Throttle, Is.GreaterThan(0));
        Assert.That(report.Downtime, Is.LessThanOrEqualTo(5.Milliseconds));
        ulong before = vm.Retired;
        await lab.RunFor(10.Milliseconds);
        Assert.That(vm.Retired - before, Is.GreaterThan(9_000_000), "it runs at full speed there");
        AssertWhole(vm);
    });

    [Test]
    public void What_dirties_too_fast_goes_first_and_its_pages_follow() => Run(Hasty, async (lab, vm) =>
    {
        MigrationReport report = await lab.Migrate(vm, B, Migration.Auto(5.Milliseconds));

        Assert.That((report.Outcome, vm.HostName), Is.EqualTo((MigrationOutcome.Completed, "b")), report.ToString());
        Assert.That(report.Downtime, Is.LessThanOrEqualTo(5.Milliseconds));
        Assert.That(report.Demanded, Is.GreaterThan(0));
        await lab.RunFor(20.Milliseconds);
        AssertWhole(vm, least: 5);
        AssertNothingLeaks(lab);
    });

    [Test]
    public void A_paused_machine_goes_too_and_stays_paused([Values(0, 3, 5)] int mode) => Run(Calm, async (lab, vm) =>
    {
        ulong before = vm.Retired;
        vm.Pause();
        MigrationReport report = await lab.Migrate(vm, B, s_modes[Math.Min(mode, 4)]);
        await lab.RunFor(10.Milliseconds);

        Assert.That((report.Outcome, vm.HostName, vm.Retired), Is.EqualTo((MigrationOutcome.Completed, "b", before)), report.ToString());
        vm.Continue();
        await lab.RunFor(50.Milliseconds);
        AssertWhole(vm, least: 10);
    });

    /// <summary>The guest's clock stands still exactly while the machine does, whatever stops it.</summary>
    [TestCase(5, 7), TestCase(5, 30), TestCase(16, 17), TestCase(16, 40), TestCase(20, 21), TestCase(0, 20)]
    public void Pauses_and_the_migration_do_not_count_twice(int pauseAt, int continueAt) => Run(Calm, async (lab, vm) =>
    {
        ulong stood = lab.Nanoseconds - vm.Powered.Machine.Now, last = lab.Nanoseconds;
        bool ran = true;
        using IDisposable watch = lab.Always("time is added up", () =>
        {
            if (!ran) stood += lab.Nanoseconds - last;
            (last, ran) = (lab.Nanoseconds, vm.IsRunning);
            return true;
        });
        lab.At(lab.Now + pauseAt.Milliseconds).Do(_ => { vm.Pause(); ran = vm.IsRunning; });
        lab.At(lab.Now + continueAt.Milliseconds).Do(_ => { vm.Continue(); ran = vm.IsRunning; });
        Task<MigrationReport> migration = lab.Migrate(vm, B, Migration.StopAndCopy());
        await lab.RunFor(80.Milliseconds);

        Assert.That((await migration).Outcome, Is.EqualTo(MigrationOutcome.Completed));
        Assert.That(lab.Nanoseconds - vm.Powered.Machine.Now, Is.EqualTo(stood));
        AssertWhole(vm);
    });

    [Test]
    public void A_machine_that_is_paused_while_it_waits_for_a_page_goes_on() => Run(Hasty, async (lab, vm) =>
    {
        Task<MigrationReport> migration = lab.Migrate(vm, B, Migration.PostCopy(5.Milliseconds));
        await lab.Until(() => vm.HostName == "b" && vm.IsFrozen);
        vm.Pause();
        await migration;
        vm.Continue();
        string before = vm.Console.Text;
        await lab.RunFor(20.Milliseconds);

        Assert.That(vm.Console.Text, Has.Length.GreaterThan(before.Length));
        AssertWhole(vm);
    });

    [Test]
    public void A_machine_that_is_switched_off_on_its_way_does_not_go([Values] bool isReset) => Run(Calm, async (lab, vm) =>
    {
        lab.At(lab.Now + 5.Milliseconds).Do(_ => (isReset ? (Action)vm.Reset : vm.PowerOff)());

        MigrationReport report = await lab.Migrate(vm, B);

        Assert.That((report.Outcome, report.Reason, vm.HostName), Is.EqualTo((MigrationOutcome.Failed, "one was switched off or reset", "a")));
        Assert.That(vm.IsFrozen, Is.False);
        AssertNothingLeaks(lab);
    });

    [Test]
    public void A_machine_that_is_reset_while_its_pages_follow_boots_there() => Run(Calm, async (lab, vm) =>
    {
        Task<MigrationReport> migration = lab.Migrate(vm, B, Migration.PostCopy(5.Milliseconds));
        await lab.Until(() => vm.HostName == "b");
        vm.Reset();

        Assert.That((await migration).Outcome, Is.EqualTo(MigrationOutcome.Completed));
        Assert.That(vm.HostName, Is.EqualTo("b"));
        await lab.RunFor(50.Milliseconds);
        Assert.That(vm.Status, Is.EqualTo(Machines.MachineStatus.Running));
        AssertNothingLeaks(lab);
    });

    [Test]
    public void A_wire_that_stays_cut_fails_it_and_the_machine_stays() => Run(Calm, async (lab, vm) =>
    {
        lab.Inject(Fault.Link(Cable).Down().At(lab.Now + 5.Milliseconds));

        MigrationReport report = await lab.Migrate(vm, B, Migration.PreCopy(5.Milliseconds).Patient(100.Milliseconds));

        Assert.That((report.Outcome, report.Reason, vm.HostName),
            Is.EqualTo((MigrationOutcome.Failed, "nothing came from the destination for 0.1 s", "a")));
        await lab.RunFor(20.Milliseconds);
        AssertWhole(vm, least: 10);
        AssertNothingLeaks(lab);
    });

    [Test]
    public void A_migration_that_is_cancelled_leaves_the_machine_where_it_is() => Run(Calm, async (lab, vm) =>
    {
        using var cancellation = new CancellationTokenSource();
        lab.At(lab.Now + 5.Milliseconds).Do(_ => cancellation.Cancel());

        await Assert.ThatAsync(() => lab.Migrate(vm, B, cancellation: cancellation.Token), Throws.InstanceOf<OperationCanceledException>());

        await lab.RunFor(20.Milliseconds);
        Assert.That((vm.HostName, vm.IsFrozen), Is.EqualTo(("a", false)));
        AssertNothingLeaks(lab);
        Assert.That((await lab.Migrate(vm, B)).Outcome, Is.EqualTo(MigrationOutcome.Completed));
    });

    [Test]
    public void A_host_without_room_refuses_and_says_why()
    {
        Fleet fleet = Hosts(room: 12.MiB);
        foreach (string name in new[] { "one", "two" })
            fleet = fleet.Vm(name, vm => vm.Boot(Guest.Program(asm => Scribble(asm, pages: 16, pause: 80_000))).Memory(8.MiB).On(A));
        Run(fleet, async (lab, _) =>
        {
            MigrationReport[] reports = await Task.WhenAll(lab.Machines.Select(vm => lab.Migrate(vm, B, Migration.StopAndCopy())));

            Assert.That(reports.Select(report => (report.Outcome, report.Reason)), Is.EquivalentTo(new[]
            {
                (MigrationOutcome.Refused, "b has 12 MiB of memory, of which 8 MiB are taken: one's 8 MiB do not fit"),
                (MigrationOutcome.Refused, "b has 12 MiB of memory, of which 8 MiB are taken: two's 8 MiB do not fit"),
            }));
            Assert.That((await lab.Migrate(lab.Machines[0], B)).Outcome, Is.EqualTo(MigrationOutcome.Completed));
            Assert.That(lab.Machines.Select(vm => vm.HostName), Is.EqualTo(new[] { "b", "a" }));
        });
    }

    [Test]
    public void What_cannot_be_migrated_is_told_at_once()
    {
        Fleet fleet = Calm.Host("c", out HostRef c).Vm("free", out VmRef free, vm => vm.Boot(Guest.Program(asm => asm.hlt())).Memory(2.MiB));
        Run(fleet, async (lab, vm) =>
        {
            Assert.That(Refusal(lab, One, A), Is.EqualTo("one runs on a already."));
            Assert.That(Refusal(lab, One, c), Is.EqualTo("No wire joins a and c: add one with .Wire(name, out var wire, a, c)."));
            Assert.That(Refusal(lab, One, new HostRef("d")), Is.EqualTo("Lab \"moving\" has no host \"d\"; it has a, b, c."));
            Assert.That(Refusal(lab, free, B), Does.StartWith("free runs on no host of the fleet"));
            Task<MigrationReport> first = lab.Migrate(One, B);
            Assert.That(Refusal(lab, One, B), Is.EqualTo("one is on its way to another host already."));
            await first;
            vm.PowerOff();
            Assert.That(Refusal(lab, One, A), Is.EqualTo("one does not run: it is powered off."));
        });
    }

    static string? Refusal(Lab lab, VmRef vm, HostRef to) => lab.Migrate(vm, to).Exception?.InnerException is LabException refusal ? refusal.Message : null;

    static bool Look(Vm vm, List<(string? Host, ulong Hash)> seen)
    {
        if (vm.IsFrozen || vm.HostName == "b" && !seen.Exists(entry => entry.Host == "b")) seen.Add((vm.HostName, vm.StateHash));
        return true;
    }
}
