using VmLab.Core;
using VmLab.Faults;
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
        Migration how = Plan(ref random);
        List<Fault> faults = Faults(ref random);
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

    static Migration Plan(ref Rng random)
    {
        TimeSpan downtime = (1 + (int)random.NextBelow(30)).Milliseconds;
        Migration how = Pick(ref random, Migration.StopAndCopy(), Migration.PreCopy(downtime), Migration.PostCopy(downtime), Migration.Auto(downtime))
            .Patient(300.Milliseconds);
        if (random.NextBelow(3) == 0) how = how.Compress();
        return random.NextBelow(3) == 0 ? how.Throttle() : how;
    }

    static List<Fault> Faults(ref Rng random)
    {
        LinkFaults cable = Fault.Link(Cable);
        List<Fault> faults = [];
        for (ulong count = random.NextBelow(4); count > 0; count--)
        {
            double chance = random.NextDouble() / 10;
            TimeSpan from = (20 + (int)random.NextBelow(60)).Milliseconds, some = (1 + (int)random.NextBelow(50)).Milliseconds;
            faults.Add(random.NextBelow(7) switch
            {
                0 => cable.Loss(chance),
                1 => cable.Duplicate(chance),
                2 => cable.Corrupt(chance),
                3 => cable.Reorder(chance, by: 2.Milliseconds),
                4 => cable.Delay(some / 10).At(from).For(some),
                5 => cable.Rate(20.Mbps).At(from).For(some),
                _ => cable.Down().At(from).For(random.NextBelow(4) == 0 ? 1.Seconds : some),
            });
        }
        return faults;
    }

    static T Pick<T>(ref Rng random, params ReadOnlySpan<T> values) => values[(int)random.NextBelow((ulong)values.Length)];
}
