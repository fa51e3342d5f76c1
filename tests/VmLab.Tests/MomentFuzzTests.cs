using System.IO.Hashing;
using System.Text.RegularExpressions;
using VmLab.Core;

namespace VmLab.Tests;

/// <summary>
/// Damaged moment files. One with a wrong checksum is refused. One that was sealed again with the right checksum is refused by what
/// it holds, or is a moment itself, another than the one saved: it saves to the very bytes that it was loaded from, so that nothing
/// was overlooked or made up, and a lab grown from it runs, or is refused.
/// </summary>
public sealed partial class MomentFuzzTests
{
    const int HeaderSize = 56, RecordsAt = 16, PageHashAt = 24, HashAt = 40;

    static readonly VmRef s_one;

    static readonly Fleet s_fleet = Fleet.Define("fuzzed").Seed(5)
        .Vm("one", out s_one, vm => vm.Boot(Guest.Program(MomentFileTests.Chatter)).Memory(4.MiB).Disk("data", 64.KiB))
        .Vm("two", vm => vm.Boot(Guest.Program(MomentFileTests.Chatter)).Memory(2.MiB));

    [Test]
    public void A_hundred_damaged_files_do_no_harm() => Fuzz(100, seed: 1);

    [Test, Explicit, Category("Slow")]
    public void Ten_thousand_damaged_files_do_no_harm() => Fuzz(10_000, seed: 2);

    static void Fuzz(int count, ulong seed) => Pump.Run(async () =>
    {
        string folder = Directory.CreateTempSubdirectory("vmlab-fuzz").FullName, path = Path.Combine(folder, "there.moment");
        try
        {
            byte[] whole = await Save(path);
            var random = Rng.FromSeed(seed);
            var outcomes = new SortedDictionary<string, int>();
            for (int i = 0; i < count; i++)
            {
                bool isSealed = i % 2 == 1;
                byte[] damaged = Damage(whole, ref random, isSealed);
                File.WriteAllBytes(path, damaged);
                string outcome = damaged.AsSpan().SequenceEqual(whole) ? "not damaged" : await Look(path, damaged, isSealed);
                outcome = $"{(isSealed ? "sealed" : "unsealed")}: {Kind(outcome)}";
                outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
            }
            foreach (var (outcome, times) in outcomes) TestContext.Out.WriteLine($"{times,6}  {outcome}");
            Assert.That(outcomes.Where(outcome => outcome.Key.StartsWith("sealed: It", StringComparison.Ordinal)).Sum(outcome => outcome.Value),
                Is.GreaterThan(count / 10), "the parser itself was reached");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }, new LabOptions { Threads = 1 });

    static async Task<byte[]> Save(string path)
    {
        await using Lab lab = await Lab.StartAsync(s_fleet);
        lab.Inject(Fault.Memory(s_one).Flip().Every(3.Milliseconds));
        lab.Inject(Fault.Power(s_one).Cut().When(Trigger.Console(s_one, "abcabc")));
        await lab.RunFor(25.Milliseconds);
        using Moment moment = await lab.Snapshot("there");
        moment.Save(path);
        return File.ReadAllBytes(path);
    }

    static async Task<string> Look(string path, byte[] damaged, bool isSealed)
    {
        try
        {
            using Moment moment = Moment.Load(path);
            Assert.That(isSealed, "a file with a wrong checksum was accepted");
            moment.Save(path + ".again");
            Assert.That(File.ReadAllBytes(path + ".again"), Is.EqualTo(damaged), "the moment is another than the file's");
            await using Lab lab = await Lab.StartAsync(moment);
            await lab.RunFor(100.Microseconds);
            return "another moment, which runs";
        }
        catch (LabException refusal)
        {
            return refusal is InfrastructureException ? "another moment, of a machine that cannot go on" : Sentence(refusal.Message);
        }
    }

    static string Sentence(string message)
    {
        const string Refused = "cannot be loaded. ";
        int at = message.IndexOf(Refused, StringComparison.Ordinal);
        return message[(at < 0 ? 0 : at + Refused.Length)..].Split('\n')[0];
    }

    // Which refusal it is, whatever the name, the number or the place.
    static string Kind(string outcome)
    {
        const int Longest = 100;
        string kind = Numbers().Replace(Named().Replace(outcome, "$1 TYPE$2"), "N");
        return kind.Length > Longest ? kind[..Longest] : kind;
    }

    static byte[] Damage(byte[] whole, ref Rng random, bool isSealed)
    {
        byte[] bytes = [.. whole];
        int records = BitConverter.ToInt32(bytes, RecordsAt);
        int end = isSealed && random.NextBelow(8) > 0 ? HeaderSize + records : bytes.Length;
        int start = isSealed ? RecordsAt + 8 : 0;
        for (ulong hits = 1 + random.NextBelow(3); hits > 0; hits--)
        {
            int at = start + (int)random.NextBelow((ulong)(end - start)), other = start + (int)random.NextBelow((ulong)(end - start));
            int length = (int)Math.Min(1 + random.NextBelow(16), (ulong)(end - Math.Max(at, other)));
            switch (random.NextBelow(6))
            {
                case 0: bytes[at] ^= (byte)(1 << (int)random.NextBelow(8)); break;
                case 1: bytes[at] = (byte)random.Next(); break;
                case 2: bytes.AsSpan(at, length).Fill((byte)random.NextBelow(2) == 0 ? (byte)0 : (byte)0xFF); break;
                case 3: bytes.AsSpan(other, length).CopyTo(bytes.AsSpan(at)); break;
                case 4: bytes[at]++; break;
                case 5 when !isSealed: return bytes[..at];
            }
        }
        if (isSealed) Seal(bytes, records);
        return bytes;
    }

    static void Seal(byte[] bytes, int records)
    {
        int pages = (HeaderSize + records + 4095) / 4096 * 4096;
        XxHash128.Hash(bytes.AsSpan(pages), bytes.AsSpan(PageHashAt));
        var hash = new XxHash128();
        hash.Append(bytes.AsSpan(0, HashAt));
        hash.Append(bytes.AsSpan(HeaderSize, records));
        hash.GetCurrentHash(bytes.AsSpan(HashAt));
    }

    [GeneratedRegex("-?[0-9]+")]
    private static partial Regex Numbers();

    [GeneratedRegex("(It holds a|Its|: an?) .+(, which is| has other| is of version| belongs| is no record| is told twice| is missing)")]
    private static partial Regex Named();
}
