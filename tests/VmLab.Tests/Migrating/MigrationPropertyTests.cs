using VmLab.Core;
using static VmLab.Tests.Migrating.Moving;

namespace VmLab.Tests.Migrating;

/// <summary>
/// Migrations of random machines over random wires that random things befall: the guest's own sum of its memory is right, what it prints
/// comes once and in its order, its run is the one without a migration, and where the outcome says completed, it stood still no longer than
/// it was allowed to.
/// </summary>
public sealed class MigrationPropertyTests
{
    [Test]
    public void Twenty_migrations_are_invisible() => Check(Enumerable.Range(1, 20));

    [Test, Explicit, Category("Slow")]
    public void Two_hundred_migrations_are_invisible() => Check(Enumerable.Range(1000, 200));

    static void Check(IEnumerable<int> seeds)
    {
        var outcomes = new SortedDictionary<string, int>();
        foreach (int seed in seeds)
        {
            string outcome = Check((ulong)seed);
            outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
        }
        foreach (var (outcome, times) in outcomes) TestContext.Out.WriteLine($"{times,6}  {outcome}");
        Assert.That(outcomes.Where(outcome => outcome.Key.Contains("Completed")).Sum(outcome => outcome.Value), Is.GreaterThan(outcomes.Values.Sum() / 2));
    }

    static string Check(ulong seed)
    {
        var random = Rng.FromSeed(seed);
        int pages = 1 << (int)(4 + random.NextBelow(5)), pause = 200 << (int)random.NextBelow(10);
        BitRate rate = Pick(ref random, 100.Mbps, 300.Mbps, 1.Gbps, 10.Gbps);
        TimeSpan latency = Pick(ref random, 20.Microseconds, 100.Microseconds, 500.Microseconds, 2.Milliseconds);
        Fleet fleet = Hosts(link => link.Rate(rate).Latency(latency))
            .Vm("one", vm => vm.Boot(Guest.Program(asm => Scribble(asm, pages, pause))).Memory(6.MiB).On(A)).Seed(seed);
        Migration how = RandomPlan(ref random);
        List<Fault> faults = RandomFaults(ref random, lab: 20.Milliseconds, slower: 1);
        (ulong Time, ulong Hash, string Text)? end = null;
        MigrationReport? report = null;
        Run(fleet, async (lab, vm) =>
        {
            faults.ForEach(lab.Inject);
            report = await lab.Migrate(vm, B, how);
            string story = $"seed {seed}: {pages} pages, pause {pause}, {rate}, {latency}, {string.Join(", ", faults)}\n{report}";
            bool hasLeft = report.Outcome is MigrationOutcome.Completed or MigrationOutcome.Lost;
            Assert.That(vm.HostName, Is.EqualTo(hasLeft ? "b" : "a"), story);
            Assert.That(vm.HasPower, Is.EqualTo(report.Outcome != MigrationOutcome.Lost), story);
            if (report.Outcome == MigrationOutcome.Completed && how.Mode != MigrationMode.StopAndCopy)
                Assert.That(report.Downtime, Is.LessThanOrEqualTo(how.Downtime), story);
            await lab.RunFor(10.Milliseconds);
            AssertWhole(vm, least: 0);
            AssertNothingLeaks(lab);
            if (vm.HasPower && report.Throttle == 0) end = (vm.Powered.Machine.Now, vm.StateHash, vm.Console.Text);
        });
        if (end is { } there)
            Run(fleet, async (lab, vm) =>
            {
                await RunTo(lab, vm, there.Time);
                Assert.That((vm.Console.Text, vm.StateHash), Is.EqualTo((there.Text, there.Hash)), $"seed {seed}");
            });
        return $"{report!.Mode}: {report.Outcome}";
    }
}
