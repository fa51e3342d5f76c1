using VmLab.Core;
using VmLab.Machines.Migrating;

namespace VmLab.Machines.Tests.Migrating;

/// <summary>The wire is cut at every message of the protocol, one way or both: one side runs the machine, and one alone.</summary>
public sealed class MigrationProtocolTests
{
    public enum Cut { Forth, Back, Both }

    static readonly Migration[] s_plans =
    [
        Migration.StopAndCopy().Patient(20.Milliseconds), Migration.PreCopy(8.Milliseconds).Patient(20.Milliseconds),
        Migration.PostCopy(8.Milliseconds).Patient(20.Milliseconds), Migration.Auto(8.Milliseconds).Patient(20.Milliseconds),
    ];

    // Of which the machine dirties more in a round than can be copied in time.
    static readonly Migration s_over = Migration.Auto(1.Milliseconds).Rounds(2).Patient(20.Milliseconds);

    static readonly TestCaseData[] s_foreign =
    [
        Foreign("protocol", offer => offer with { Protocol = 7 }, "it comes by version 7 of the protocol, and here version 1 is spoken"),
        Foreign("processor", offer => offer with { Processor = 1 }, "its processor has other features than those here"),
        Foreign("memory", offer => offer with { Memory = 8.MiB }, "there is no room"),
    ];

    readonly FramePool _pool = new(1.GiB);

    [TearDown]
    public void Free() => _pool.Dispose();

    [TestCaseSource(nameof(s_plans))]
    public void A_machine_moves(Migration plan)
    {
        using var hosts = new TwoHosts(_pool, plan);

        MigrationReport report = hosts.Migrate();

        Assert.That((report.Outcome, hosts.RunsHere, hosts.RunsThere), Is.EqualTo((MigrationOutcome.Completed, false, true)), report.ToString());
        AssertSameMachine(hosts);
    }

    [Test]
    public void Cut_for_good_at_every_message([ValueSource(nameof(s_plans))] Migration plan, [Values] Cut cut)
    {
        HashSet<MigrationOutcome> seen = AtEveryMessage(plan, cut, ulong.MaxValue);

        Assert.That(seen, Does.Contain(MigrationOutcome.Failed));
        Assert.That(seen.Contains(MigrationOutcome.Lost), Is.EqualTo(plan.Mode == MigrationMode.PostCopy));
    }

    /// <summary>Pre-copy that goes over to post-copy: what breaks before stays, and what breaks after is lost, until all of it is there.</summary>
    [Test]
    public void Cut_for_good_where_pages_follow_what_was_copied([Values] Cut cut) => Assert.That(AtEveryMessage(s_over, cut, ulong.MaxValue),
        Is.EquivalentTo(new[] { MigrationOutcome.Failed, MigrationOutcome.Lost, MigrationOutcome.Completed }));

    [Test]
    public void Cut_for_a_while_at_every_message([ValueSource(nameof(s_plans))] Migration plan, [Values] Cut cut, [Values(3, 12)] int milliseconds) =>
        Assert.That(AtEveryMessage(plan, cut, (ulong)milliseconds.Milliseconds.TotalNanoseconds), Is.EquivalentTo(new[] { MigrationOutcome.Completed }));

    [TestCaseSource(nameof(s_foreign))]
    public void What_is_refused_runs_on_where_it_is_and_the_reason_is_told(Func<MigrationOffer, MigrationOffer> change, string reason)
    {
        foreach (Migration plan in s_plans)
        {
            using var hosts = new TwoHosts(_pool, plan)
            {
                Meddle = (_, message) => message.Kind != MigrationMessageKind.Offer ? [message]
                    : [message with { Body = MigrationCodec.Record(change(MigrationCodec.ReadRecord<MigrationOffer>(message.Body))) }],
            };
            MigrationReport report = hosts.Migrate();

            Assert.That((report.Outcome, report.Reason), Is.EqualTo((MigrationOutcome.Refused, reason)));
            Assert.That((hosts.RunsHere, hosts.RunsThere, report.Downtime), Is.EqualTo((true, false, TimeSpan.Zero)));
            AssertSameMachine(hosts);
        }
    }

    static TestCaseData Foreign(string what, Func<MigrationOffer, MigrationOffer> change, string reason) =>
        new TestCaseData(change, reason).SetArgDisplayNames(what);

    HashSet<MigrationOutcome> AtEveryMessage(Migration plan, Cut cut, ulong time)
    {
        int messages;
        using (var hosts = new TwoHosts(_pool, plan))
        {
            hosts.Migrate();
            messages = hosts.Sent;
        }
        var seen = new HashSet<MigrationOutcome>();
        for (int message = 0; message < messages; message++)
        {
            using (var hosts = new TwoHosts(_pool, plan)
                { CutFrom = message, CutFor = time, CutsForth = cut != Cut.Back, CutsBack = cut != Cut.Forth })
            {
                MigrationReport report = hosts.Migrate();
                seen.Add(report.Outcome);

                string story = $"message {message} of {messages}: {report}";
                bool isThere = report.Outcome == MigrationOutcome.Completed, isLost = report.Outcome == MigrationOutcome.Lost;
                Assert.That((hosts.RunsHere, hosts.RunsThere), Is.EqualTo((!isThere && !isLost, isThere)), story);
                Assert.That(report.Reason.Length > 0, Is.EqualTo(!isThere), story);
                if (isThere && plan.Mode != MigrationMode.StopAndCopy) Assert.That(report.Downtime, Is.LessThanOrEqualTo(plan.Downtime), story);
                if (!isLost) AssertSameMachine(hosts);
            }
            Assert.That(_pool.FramesInUse, Is.Zero, $"message {message}");
        }
        return seen;
    }

    /// <summary>The machine that runs is, with its memory and disk, what the one that never moved is at the same time of its own.</summary>
    static void AssertSameMachine(TwoHosts hosts)
    {
        hosts.RunOn(2_000_000);
        using var pool = new FramePool(1.GiB);
        using Machine still = new(TwoHosts.Config, pool);
        still.RunUntil(hosts.Running.Now);
        still.Drive("data").Restore(hosts.Here.Drive("data").Snapshot());

        Assert.That(hosts.Running.StateHash(), Is.EqualTo(still.StateHash()));
    }
}
