using CsCheck;
using VmLab.Core;
using VmLab.Devices.Storage;

namespace VmLab.Devices.Tests.Storage;

public sealed class DiskDriveTests
{
    const int SectorSize = 512, Sectors = 9000;       // more than one leaf of the map, and not a whole number of them

    readonly record struct Step(int Kind, ulong Sector, int Count, byte Value);

    static readonly Gen<Step> s_step =
        Gen.Select(Gen.Int[0, 4], Gen.Int[0, Sectors - 1], Gen.OneOf(Gen.Int[1, 20], Gen.Int[1, 8500]), Gen.Byte)
            .Select((kind, sector, count, value) => new Step(kind, (ulong)sector, Math.Min(count, Sectors - sector), value));

    [TestCase(false), TestCase(true)]
    public void Drive_is_an_array_of_bytes_with_moments(bool hasBase) => s_step.Array[1, 25].Sample(steps =>
    {
        var drive = new DiskDrive(Size, hasBase ? new Pattern() : null);
        byte[] model = Read(drive);
        var moments = new List<(DiskMoment Moment, byte[] Model, ulong Hash)>();
        foreach (Step step in steps)
        {
            Span<byte> range = model.AsSpan((int)step.Sector * SectorSize, step.Count * SectorSize);
            switch (step.Kind)
            {
                case 0:
                    range.Fill(step.Value);
                    drive.Write(step.Sector, range);
                    break;
                case 1:
                    range.Clear();
                    drive.Zero(step.Sector, (ulong)step.Count);
                    break;
                case 2: drive.Flush(); break;
                case 3: moments.Add((drive.Snapshot(), (byte[])model.Clone(), Hash(drive))); break;
                case 4 when moments.Count > 0:
                    var (moment, then, hash) = moments[step.Value % moments.Count];
                    drive.Restore(moment);
                    model = (byte[])then.Clone();
                    if (Hash(drive) != hash) return false;
                    break;
            }
            if (!Read(drive).AsSpan().SequenceEqual(model)) return false;
        }
        return true;
    }, iter: 20);

    [Test]
    public void Equal_bytes_hash_alike_however_they_came_about()
    {
        DiskDrive plain = new(Size), used = new(Size);
        byte[] sectors = [.. Enumerable.Repeat((byte)7, 8 * SectorSize)];
        plain.Write(8, sectors);
        used.Write(8, new byte[8 * SectorSize]);
        used.Write(5000, sectors);
        used.Write(8, sectors);
        used.Zero(5000, 8);
        plain.Flush();
        used.Flush();
        Assert.That(Hash(used), Is.EqualTo(Hash(plain)));
    }

    [Test]
    public void Power_loss_keeps_what_was_flushed_and_seeds_decide_about_the_rest()
    {
        var outcomes = new HashSet<string>();
        for (ulong seed = 0; seed < 200; seed++)
        {
            var drive = new DiskDrive(Size);
            drive.Write(0, Filled(4, 1));
            drive.Flush();
            drive.Write(1, Filled(3, 2));
            drive.Write(2, Filled(1, 3));
            drive.LosePower(Rng.FromSeed(seed));

            byte[] bytes = Read(drive);
            Assert.That((bytes[0], drive.UnflushedWrites), Is.EqualTo((1, 0)), "flushed, and never written again");
            outcomes.Add(string.Join(' ', Enumerable.Range(0, 4).Select(sector => bytes[sector * SectorSize])));
        }
        Assert.That(outcomes, Does.Contain("1 1 1 1"), "both lost");
        Assert.That(outcomes, Does.Contain("1 2 3 2"), "both kept");
        Assert.That(outcomes, Does.Contain("1 2 2 2"), "the second lost, or overtaken by the first");
        Assert.That(outcomes, Does.Contain("1 2 1 1"), "the first torn, the second lost");
        Assert.That(outcomes, Does.Contain("1 1 3 1"), "the first lost, the second kept");
    }

    [Test]
    public void Same_seed_loses_the_same()
    {
        DiskDrive first = new(Size), second = new(Size);
        foreach (DiskDrive drive in new[] { first, second })
        {
            for (byte i = 1; i < 50; i++) drive.Write(i, Filled(20, i));
            drive.LosePower(Rng.FromSeed(3));
        }
        Assert.That(Read(first), Is.EqualTo(Read(second)));
    }

    [Test]
    public void Cache_is_limited_and_the_oldest_writes_become_durable()
    {
        var drive = new DiskDrive(64.MiB);
        for (ulong i = 0; i < 40; i++) drive.Write(i * 2048, Filled(2048, 1));
        Assert.That(drive.UnflushedWrites, Is.EqualTo(16));

        drive.LosePower(Rng.FromSeed(1));
        byte[] first = new byte[SectorSize];
        drive.Read(23 * 2048, first);
        Assert.That(first, Is.EqualTo(Filled(1, 1)));
    }

    [Test]
    public void Image_file_is_read_and_never_written()
    {
        string path = Path.Combine(TestContext.CurrentContext.WorkDirectory, "base.img");
        File.WriteAllBytes(path, Filled(16, 5));
        using (var file = new RawFile(path))
        {
            var drive = new DiskDrive(32.KiB, file);
            drive.Write(1, Filled(1, 6));
            drive.Flush();
            byte[] bytes = Read(drive);
            Assert.That((bytes[0], bytes[SectorSize], bytes[2 * SectorSize], bytes[16 * SectorSize]), Is.EqualTo((5, 6, 5, 0)));
        }
        Assert.That(File.ReadAllBytes(path), Is.EqualTo(Filled(16, 5)));
        File.Delete(path);
    }

    [Test]
    public void Image_file_that_is_not_there_is_named() =>
        Assert.That(() => new RawFile("/no/such.img"), Throws.TypeOf<LabException>().With.Message.Contains("/no/such.img"));

    static ByteSize Size => new(Sectors * SectorSize);

    static byte[] Filled(int sectors, byte value) => [.. Enumerable.Repeat(value, sectors * SectorSize)];

    static byte[] Read(DiskDrive drive)
    {
        byte[] bytes = new byte[drive.Size.Bytes];
        drive.Read(0, bytes);
        return bytes;
    }

    static ulong Hash(DiskDrive drive)
    {
        var hash = new StateHash();
        drive.AddTo(hash);
        return hash.Value;
    }

    sealed class Pattern : IImageBase
    {
        public ByteSize Size => new(4000 * SectorSize + 100);

        public void Read(ulong offset, Span<byte> bytes)
        {
            for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)((offset + (ulong)i) * 31 >> 3);
        }
    }
}
