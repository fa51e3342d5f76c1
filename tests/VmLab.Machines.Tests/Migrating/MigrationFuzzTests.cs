using System.Text.RegularExpressions;
using VmLab.Core;
using VmLab.Machines.Migrating;

namespace VmLab.Machines.Tests.Migrating;

/// <summary>
/// Damaged streams of a migration. Where the seals are as they were, what comes out is what went in, up to the damage. Where a message was
/// sealed again with the right tag, it is refused by what it holds, or does no harm: the source's machine is as it was, one side runs, and
/// no memory is lost.
/// </summary>
public sealed partial class MigrationFuzzTests
{
    static readonly byte[] s_key = [.. Enumerable.Range(0, MigrationSeal.KeySize).Select(i => (byte)i)];

    static readonly Migration[] s_plans =
    [
        Migration.StopAndCopy().Patient(3.Milliseconds), Migration.PreCopy(8.Milliseconds).Compress().Patient(3.Milliseconds),
        Migration.PostCopy(8.Milliseconds).Patient(3.Milliseconds), Migration.Auto(8.Milliseconds).Rounds(1).Patient(3.Milliseconds),
    ];

    readonly FramePool _pool = new(64.MiB);
    readonly Dictionary<ulong, ulong> _hashes = [];

    [TearDown]
    public void Free() => _pool.Dispose();

    [Test]
    public void Two_hundred_damaged_streams_do_no_harm() => Fuzz(200, seed: 1);

    [Test, Explicit, Category("Slow")]
    public void Ten_thousand_damaged_streams_do_no_harm() => Fuzz(10_000, seed: 2);

    void Fuzz(int count, ulong seed)
    {
        var random = Rng.FromSeed(seed);
        (bool IsForth, MigrationMessage Message)[][] runs = [.. s_plans.Select(Listen)];
        var outcomes = new SortedDictionary<string, int>();
        for (int i = 0; i < count; i++)
        {
            int plan = (int)random.NextBelow((ulong)s_plans.Length);
            string outcome = i % 2 == 0
                ? $"as sealed: {Open(runs[plan], ref random)}"
                : $"sealed again: {Migrate(s_plans[plan], runs[plan].Length, Rng.FromSeed(random.Next()))}";
            outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
        }
        foreach (var (outcome, times) in outcomes) TestContext.Out.WriteLine($"{times,6}  {outcome}");
        int refused = outcomes.Where(outcome => outcome.Key.StartsWith("sealed again: Failed", StringComparison.Ordinal)).Sum(outcome => outcome.Value);
        Assert.That(refused, Is.GreaterThan(count / 10), "the parser itself was reached");
    }

    (bool, MigrationMessage)[] Listen(Migration plan)
    {
        List<(bool, MigrationMessage)> heard = [];
        using var hosts = new TwoHosts(_pool, plan)
        {
            Meddle = (isForth, message) =>
            {
                heard.Add((isForth, message));
                return [message];
            },
        };
        Assert.That(hosts.Migrate().Outcome, Is.EqualTo(MigrationOutcome.Completed));
        return [.. heard];
    }

    /// <summary>Damages the bytes of one way, and opens what is left of them.</summary>
    static string Open((bool IsForth, MigrationMessage Message)[] run, ref Rng random)
    {
        bool isForth = random.NextBelow(2) == 0;
        MigrationMessage[] whole = [.. run.Where(sent => sent.IsForth == isForth).Select(sent => sent.Message)];
        using MigrationSeal seal = new(s_key), opened = new(s_key);
        byte[] wire = [.. whole.SelectMany(message => seal.Seal(message.Kind, message.Body.Span).ToArray())];
        byte[] damaged = Damage(wire, ref random);
        int count = 0;
        string outcome = "some of it";
        try
        {
            opened.Receive(damaged);
            for (; opened.TryOpen(out MigrationMessage message); count++)
                Assert.That((message.Kind, message.Body.Span.SequenceEqual(whole[count].Body.Span)), Is.EqualTo((whole[count].Kind, true)));
        }
        catch (MigrationException refusal)
        {
            outcome = Numbers().Replace(refusal.Message, "N");
        }
        Assert.That(count, Is.LessThanOrEqualTo(whole.Length));
        return damaged.AsSpan().SequenceEqual(wire) ? "not damaged" : outcome;
    }

    /// <summary>Migrates with one message damaged, and looks at what comes of it.</summary>
    string Migrate(Migration plan, int messages, Rng random)
    {
        int target = (int)random.NextBelow((ulong)messages), sent = 0;
        MigrationMessage? held = null;
        string outcome;
        using (var hosts = new TwoHosts(_pool, plan) { Meddle = Meddle })
        {
            MigrationReport report = hosts.Migrate();
            Assert.That(hosts.RunsHere && hosts.RunsThere, Is.False, report.ToString());
            Assert.That(hosts.RunsHere || hosts.RunsThere || report.Outcome == MigrationOutcome.Lost, report.ToString());
            Assert.That(hosts.Here.Memory.Ram.Hash(), Is.EqualTo(HashAt(hosts.Here.Now)), report.ToString());
            outcome = $"{report.Outcome} {Numbers().Replace(report.Reason, "N")}";
            if (hosts.RunsThere && !TryRun(hosts)) outcome += ", and cannot go on";
        }
        Assert.That(_pool.FramesInUse, Is.Zero, outcome);
        return outcome;

        IEnumerable<MigrationMessage> Meddle(bool isForth, MigrationMessage message)
        {
            List<MigrationMessage> others = [];
            if (sent++ != target) others.Add(message);
            else
                switch (random.NextBelow(6))
                {
                    case 0: others.AddRange([message, message]); break;
                    case 1: held = message; return [];
                    case 2: others.Add(message with { Kind = Another(message.Kind, ref random) }); break;
                    default: others.Add(message with { Body = Damage(message.Body.ToArray(), ref random) }); break;
                }
            if (held is { } late) others.Add(late);
            held = null;
            return others;
        }
    }

    // A destination that has the key, runs the machine and says that it does not, cannot be found out by anybody.
    static MigrationMessageKind Another(MigrationMessageKind kind, ref Rng random)
    {
        var other = (MigrationMessageKind)(1 + random.NextBelow(16));
        return (kind, other) == (MigrationMessageKind.Taken, MigrationMessageKind.Expired) ? MigrationMessageKind.Whole : other;
    }

    static bool TryRun(TwoHosts hosts)
    {
        try
        {
            hosts.RunOn(100_000);
            return true;
        }
        catch (Exception)   // as a lab takes it: the machine's end, and no other's
        {
            return false;
        }
    }

    ulong HashAt(ulong time)
    {
        if (_hashes.TryGetValue(time, out ulong hash)) return hash;
        using var pool = new FramePool(64.MiB);
        using var machine = new Machine(TwoHosts.Config, pool);
        machine.RunUntil(time);
        return _hashes[time] = machine.Memory.Ram.Hash();
    }

    static byte[] Damage(byte[] whole, ref Rng random)
    {
        const ulong Head = 64;
        byte[] bytes = [.. whole];
        for (ulong hits = 1 + random.NextBelow(3); hits > 0; hits--)
        {
            if (bytes.Length == 0) return [(byte)random.Next()];
            ulong end = random.NextBelow(2) == 0 ? (ulong)bytes.Length : Math.Min(Head, (ulong)bytes.Length);
            int at = (int)random.NextBelow(end), other = (int)random.NextBelow((ulong)bytes.Length);
            int length = (int)Math.Min(1 + random.NextBelow(16), (ulong)(bytes.Length - Math.Max(at, other)));
            switch (random.NextBelow(7))
            {
                case 0: bytes[at] ^= (byte)(1 << (int)random.NextBelow(8)); break;
                case 1: bytes[at] = (byte)random.Next(); break;
                case 2: bytes.AsSpan(at, length).Fill((byte)(random.NextBelow(2) == 0 ? 0 : 0xFF)); break;
                case 3: bytes.AsSpan(other, length).CopyTo(bytes.AsSpan(at)); break;
                case 4: bytes[at]++; break;
                case 5: return bytes[..at];
                case 6: return [.. bytes, .. bytes[at..]];
            }
        }
        return bytes;
    }

    [GeneratedRegex("(0x)?[0-9][0-9a-f.]*")]
    private static partial Regex Numbers();
}
