using VmLab.Core;
using VmLab.Devices.Storage;

namespace VmLab.Devices.Tests.Storage;

/// <summary>Random damage to the tables of a qcow2 file: no crash, no hang, and nothing taken that is not sound by the format.</summary>
public sealed class RandomQcowTests
{
    const int Cluster = 64 << 10;

    [Test]
    public void Damaged_tables_are_refused_or_harmless() => Damage(files: 300, leastRules: 8);

    [Test, Explicit("Takes a minute."), Category("Slow")]
    public void Ten_thousand_damaged_tables_are_refused_or_harmless() => Damage(files: 10_000, leastRules: 16);

    /// <param name="leastRules">So many different rules must have been reached.</param>
    static void Damage(int files, int leastRules)
    {
        string folder = Directory.CreateTempSubdirectory("qcow").FullName, path = Path.Combine(folder, "disk.qcow2");
        DiskExport.Write(QcowTests.Drive(), path);
        byte[] sound = File.ReadAllBytes(path);
        byte[] content = Content(path);
        int[] tables = [.. Tables(sound)];
        Rng random = Rng.FromSeed(2);
        var refused = new SortedDictionary<string, int>();
        int unchanged = 0, changed = 0;
        for (int i = 0; i < files; i++)
        {
            byte[] damaged = (byte[])sound.Clone();
            Scribble(damaged, tables, ref random);
            File.WriteAllBytes(path, damaged);
            try
            {
                if (Content(path).AsSpan().SequenceEqual(content)) unchanged++;
                else
                {
                    changed++;
                    AssertSound(folder);
                }
            }
            catch (DamagedImageException refusal)
            {
                refused[refusal.Rule] = refused.GetValueOrDefault(refusal.Rule) + 1;
            }
        }
        Directory.Delete(folder, recursive: true);

        TestContext.Out.WriteLine($"{files} files: {refused.Values.Sum()} refused, {unchanged} harmless, {changed} another sound disk.");
        foreach (var (rule, count) in refused) TestContext.Out.WriteLine($"{count,6} {rule}");
        Assert.That(refused, Has.Count.GreaterThanOrEqualTo(leastRules));
        Assert.That(refused.Values.Sum(), Is.GreaterThan(files / 3));
    }

    // Another disk, but by the format a sound one: what QEMU's own checker, where it is there, finds no error in but a leak.
    static void AssertSound(string folder)
    {
        const int Leaks = 3;
        if (!QcowTests.HasQemu) return;
        (int exitCode, string output) = QcowTests.RunIn(folder, "qemu-img", "check", "-f", "qcow2", "disk.qcow2");
        Assert.That(exitCode, Is.EqualTo(0).Or.EqualTo(Leaks), output);
    }

    /// <summary>Where header, tables and counts have something in them.</summary>
    static IEnumerable<int> Tables(byte[] bytes)
    {
        for (int i = 0; i < 104; i++) yield return i;
        int clusters = bytes.Length / Cluster;
        foreach (int start in new[] { 1, 2, clusters - 2, clusters - 1 })
            for (int i = 0; i < 40 * 8; i++) yield return start * Cluster + i;
    }

    // Of one to three places; half of them near enough to sense to survive the first look.
    static void Scribble(byte[] bytes, int[] tables, ref Rng random)
    {
        for (ulong left = 1 + random.NextBelow(3); left > 0; left--)
        {
            int at = tables[random.NextBelow((ulong)tables.Length)], entry = at & ~7, other = tables[random.NextBelow((ulong)tables.Length)] & ~7;
            switch (random.NextBelow(5))
            {
                case 0: bytes[at] ^= (byte)(1 << (int)random.NextBelow(8)); break;
                case 1: bytes[at] = (byte)random.Next(); break;
                case 2: BitConverter.TryWriteBytes(bytes.AsSpan(entry), random.Next()); break;
                case 3: bytes.AsSpan(entry, 8).Clear(); break;
                default: bytes.AsSpan(other, 8).CopyTo(bytes.AsSpan(entry)); break;
            }
        }
    }

    static byte[] Content(string path)
    {
        using ImageFile image = ImageFile.Open(path);
        Assert.That(image.Size.Bytes, Is.LessThanOrEqualTo(1UL << 44));
        byte[] bytes = new byte[Math.Min(image.Size.Bytes, 4 << 20)];
        image.Read(0, bytes);
        return bytes;
    }
}
