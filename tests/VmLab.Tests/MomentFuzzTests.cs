using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using VmLab.Core;
using VmLab.Faults;

namespace VmLab.Tests;

/// <summary>
/// Damaged moment files. One with a wrong checksum is refused. One that was sealed again with the right checksum is refused by what
/// it holds, or is a moment itself, another than the one saved: it saves to the very bytes that it was loaded from, so that nothing
/// was overlooked or made up, and a lab grown from it runs, loses power and goes on, or is refused.
/// </summary>
/// <remarks>
/// The test tells how often each refusal was met, and which never. Lines and branches of the readers that it reaches:
/// <c>dotnet test --collect "Code Coverage;Format=cobertura"</c>.
/// </remarks>
public sealed class MomentFuzzTests
{
    const int HeaderSize = 56, PagesAt = 12, RecordsAt = 16, PageHashAt = 24, HashAt = 40, PageSize = 4096;

    static readonly VmRef s_one, s_debian;

    static readonly Fleet s_programs = Fleet.Define("fuzzed").Seed(5)
        .Vm("one", out s_one, vm => vm.Boot(Guest.Program(MomentFileTests.Chatter)).Memory(4.MiB).Disk("data", 64.KiB))
        .Vm("two", vm => vm.Boot(Guest.Program(MomentFileTests.Chatter)).Memory(2.MiB));

    static readonly Fleet s_debians = Fleet.Define("fuzzed").Seed(5)
        .Vm("one", out s_debian, vm => vm.Boot(Guest.Debian()).Memory(96.MiB).Disk("data", 64.MiB))
        .Vm("two", out VmRef two, vm => vm.Boot(Guest.Program(MomentFileTests.Chatter)).Memory(2.MiB))
        .Lan("lan", out _, [s_debian, two], link => link.Latency(50.Milliseconds));

    string _folder = "";

    string Whole => Path.Combine(_folder, "whole.moment");

    string Parent => Path.Combine(_folder, "parent.moment");

    string Damaged => Path.Combine(_folder, "damaged.moment");

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("vmlab-fuzz").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void A_hundred_damaged_files_do_no_harm() => Fuzz(s_programs, Chat, 100, seed: 1);

    [Test]
    public void A_hundred_damaged_files_with_a_parent_do_no_harm() => Fuzz(s_programs, Chat, 100, seed: 4, GoOn);

    [Test, Explicit, Category("Slow")]
    public void Six_thousand_damaged_files_of_programs_do_no_harm() => Fuzz(s_programs, Chat, 6_000, seed: 2);

    [Test, Explicit, Category("Slow")]
    public void Three_thousand_damaged_files_with_a_parent_do_no_harm() => Fuzz(s_programs, Chat, 3_000, seed: 5, GoOn);

    [Test, Explicit, Category("Slow")]
    public void A_thousand_damaged_files_of_a_Debian_do_no_harm() => Fuzz(s_debians, Write, 1_000, seed: 3);

    static async Task Chat(Lab lab)
    {
        lab.Inject(Fault.Disk(s_one, "data").Rotten(new SectorRange(0, 64), sectors: 20));
        lab.Inject(Fault.Memory(s_one).Flip().Every(3.Milliseconds));
        lab.Inject(Fault.Power(s_one).Cut().When(Trigger.Console(s_one, "abcabc")));
        await lab.RunFor(25.Milliseconds);
    }

    static async Task GoOn(Lab lab)
    {
        lab.Inject(Fault.Disk(s_one, "data").Rotten(new SectorRange(32, 64), sectors: 20));
        await lab.RunFor(10.Milliseconds);
    }

    // A command is under way, writes lie in the disk's cache, and frames on the cable.
    static async Task Write(Lab lab)
    {
        await lab.Boot();
        await lab[s_debian].Shell("mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && sync && echo lost >/mnt/lost");
        await lab[s_debian].Shell("dd if=/dev/urandom of=/dev/vda bs=4k seek=9000 count=40 oflag=direct");
        Task<ShellResult> ping = lab[s_debian].Shell("ping -c 9 -W 1 10.0.0.9; ping -c 9 two");
        await Task.WhenAny(ping, lab.RunFor(30.Milliseconds));
    }

    void Fuzz(Fleet fleet, Func<Lab, Task> prepare, int count, ulong seed, Func<Lab, Task>? goOn = null)
    {
        Specimen whole = Save(fleet, prepare, goOn);
        var random = Rng.FromSeed(seed);
        var refusals = new MomentRefusals();
        var outcomes = new SortedDictionary<string, int>();
        for (int i = 0; i < count; i++)
        {
            bool isSealed = i % 2 == 1;
            byte[] damaged = isSealed ? whole.Resealed(ref random) : whole.Damaged(ref random);
            File.WriteAllBytes(Damaged, damaged);
            string? refusal = Look(damaged, isSealed);
            refusals.Meet(refusal ?? "");
            string outcome = $"{(isSealed ? "sealed" : "unsealed")} and {(refusal is null ? "a moment that runs" : "refused")}";
            outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
        }
        foreach (var (outcome, times) in outcomes.Concat(refusals.Met)) TestContext.Out.WriteLine($"{times,6}  {outcome}");
        foreach (string never in refusals.NeverMet) TestContext.Out.WriteLine($" never  {never}");
        Assert.That(outcomes["sealed and refused"], Is.GreaterThan(count / 10), "the parser itself was reached");
        Assert.That(outcomes["sealed and a moment that runs"], Is.GreaterThan(count / 20), "what is behind the parser was reached");
    }

    // The moment whole, or where the lab goes on from there, what differs since then.
    Specimen Save(Fleet fleet, Func<Lab, Task> prepare, Func<Lab, Task>? goOn)
    {
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(fleet);
            await prepare(lab);
            using Moment moment = await lab.Snapshot("there");
            moment.Save(goOn is null ? Whole : Parent);
            if (goOn is null) return;
            await goOn(lab);
            using Moment later = await lab.Snapshot("later");
            later.Save(Whole, moment);
        });
        return new Specimen(File.ReadAllBytes(Whole));
    }

    /// <returns>How it was refused, or <see langword="null"/>.</returns>
    string? Look(byte[] damaged, bool isSealed)
    {
        try
        {
            using Moment moment = Moment.Load(Damaged);
            Assert.That(isSealed, "a file with a wrong checksum was accepted");
            string again = Damaged + ".again";
            moment.Save(again, moment.Parent);
            Assert.That(File.ReadAllBytes(again).AsSpan().SequenceEqual(damaged), "the moment is another than the file's");
            Pump.Run(async () =>
            {
                await using Lab lab = await Lab.StartAsync(moment);
                await lab.RunFor(1.Milliseconds);
                foreach (Vm machine in lab.Machines) machine.PowerOff();
                await lab.RunFor(1.Milliseconds);
            }, new LabOptions { Threads = 1 });
            return null;
        }
        catch (LabException refusal) when (refusal is not InfrastructureException)
        {
            return refusal.Message;
        }
    }

    /// <summary>A whole file, to be damaged.</summary>
    sealed class Specimen
    {
        readonly byte[] _whole, _records, _pages;
        readonly Range _map;

        public Specimen(byte[] whole)
        {
            _whole = whole;
            int records = BinaryPrimitives.ReadInt32LittleEndian(whole.AsSpan(RecordsAt));
            _records = whole[HeaderSize..(HeaderSize + records)];
            _pages = whole[PagesFrom(records)..];
            _map = Find(typeof(MemoryMoment))..Find(typeof(Machines.MachineState));
        }

        /// <summary>Other bytes anywhere, or an earlier end.</summary>
        public byte[] Damaged(ref Rng random)
        {
            if (random.NextBelow(6) == 0) return _whole[..(int)random.NextBelow((ulong)_whole.Length)];
            byte[] bytes = [.. _whole];
            int end = random.NextBelow(8) == 0 ? HeaderSize : _whole.Length;
            while (bytes.AsSpan().SequenceEqual(_whole)) Hit(bytes, At(end, ref random), ref random);
            return bytes;
        }

        /// <summary>Other records or pages under the right checksum.</summary>
        public byte[] Resealed(ref Rng random)
        {
            byte[] sealedAgain = _whole;
            while (sealedAgain.AsSpan().SequenceEqual(_whole))
            {
                byte[] records = [.. _records], pages = [.. _pages];
                for (ulong hits = 1 + random.NextBelow(3); hits > 0; hits--)
                    switch (random.NextBelow(16))
                    {
                        case 0: Hit(pages, At(pages.Length, ref random), ref random); break;
                        case 1: pages = pages[..^PageSize]; break;
                        case 2: pages = [.. pages, .. new byte[PageSize - 1], 0xFF]; break;
                        case 3: records = Moved(records, ref random); break;
                        default: Hit(records, Place(ref random), ref random); break;
                    }
                if (!HasTwins(pages)) sealedAgain = Seal(records, pages);
            }
            return sealedAgain;
        }

        // Equal pages are in a file once: a hit that makes two equal makes no other moment, and is drawn again.
        static bool HasTwins(byte[] pages)
        {
            var seen = new HashSet<UInt128>();
            for (int at = 0; at < pages.Length; at += PageSize)
                if (!seen.Add(XxHash128.HashToUInt128(pages.AsSpan(at, PageSize)))) return true;
            return false;
        }

        int Find(Type type) => _records.AsSpan().IndexOf(Encoding.Unicode.GetBytes(type.FullName!));

        static int PagesFrom(int records) => (HeaderSize + records + PageSize - 1) / PageSize * PageSize;

        static int At(int length, ref Rng random) => (int)random.NextBelow((ulong)length);

        // The map of a machine's pages is long, and all alike: one hit in eight is enough for it.
        int Place(ref Rng random)
        {
            int at = At(_records.Length, ref random);
            bool isOfMap = at >= _map.Start.Value && at < _map.End.Value;
            return isOfMap && random.NextBelow(8) > 0 ? Place(ref random) : at;
        }

        static void Hit(byte[] bytes, int at, ref Rng random)
        {
            Span<byte> here = bytes.AsSpan(at);
            int length = (int)Math.Min(1 + random.NextBelow(16), (ulong)here.Length);
            switch (random.NextBelow(7))
            {
                case 0: here[0] ^= (byte)(1 << (int)random.NextBelow(8)); break;
                case 1: here[0] = (byte)random.Next(); break;
                case 2: here[0]++; break;
                case 3: here[0]--; break;
                case 4: here[..length].Fill((byte)random.NextBelow(2) == 0 ? (byte)0 : (byte)0xFF); break;
                case 5: bytes.AsSpan(At(bytes.Length - length + 1, ref random), length).CopyTo(here); break;
                case 6: here[..Math.Min(4, here.Length)].Fill(0xFF); break;
            }
        }

        // Some bytes too many, or too few.
        static byte[] Moved(byte[] records, ref Rng random)
        {
            int at = At(records.Length - 16, ref random), length = 1 + (int)random.NextBelow(16);
            return random.NextBelow(2) == 0
                ? [.. records.AsSpan(0, at), .. records.AsSpan(at + length)]
                : [.. records.AsSpan(0, at + length), .. records.AsSpan(at)];
        }

        static byte[] Seal(byte[] records, byte[] pages)
        {
            int pagesFrom = PagesFrom(records.Length);
            byte[] bytes = new byte[pagesFrom + pages.Length];
            "VmMoment"u8.CopyTo(bytes);
            bytes[8] = 2;
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(PagesAt), pages.Length / PageSize);
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(RecordsAt), records.Length);
            records.CopyTo(bytes, HeaderSize);
            pages.CopyTo(bytes, pagesFrom);
            XxHash128.Hash(pages, bytes.AsSpan(PageHashAt));
            var hash = new XxHash128();
            hash.Append(bytes.AsSpan(0, HashAt));
            hash.Append(records);
            hash.GetCurrentHash(bytes.AsSpan(HashAt));
            return bytes;
        }
    }
}
