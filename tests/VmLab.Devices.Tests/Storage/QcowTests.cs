using System.Buffers.Binary;
using System.Diagnostics;
using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Devices.Storage.Qcow;

namespace VmLab.Devices.Tests.Storage;

/// <summary>qcow2 files: what is written is read, by QEMU's own tool as well, and damage is refused.</summary>
public sealed class QcowTests
{
    const int Cluster = 64 << 10, Header = 0, L1 = 1, L2 = 2, FirstData = 3;
    const int Size = 32 * Cluster;

    readonly string _folder = Directory.CreateTempSubdirectory("qcow").FullName;

    [TearDown]
    public void RemoveFiles() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void Saved_disk_is_read_back()
    {
        DiskDrive drive = Drive();
        DiskExport.Write(drive, File("disk.qcow2"));

        using ImageFile image = ImageFile.Open(File("disk.qcow2"));

        Assert.That(image, Is.TypeOf<QcowImage>());
        Assert.That(All(image), Is.EqualTo(All(drive)));
        Assert.That(Directory.GetFiles(_folder), Has.Length.EqualTo(1), "no part of a file is left over");
    }

    [Test]
    public void Saved_disk_is_raw_bytes_by_any_other_name()
    {
        DiskDrive drive = Drive();
        DiskExport.Write(drive, File("disk.img"));
        Assert.That(System.IO.File.ReadAllBytes(File("disk.img")), Is.EqualTo(All(drive)));
    }

    [Test]
    public void Overlay_takes_the_writes_and_the_file_stays()
    {
        DiskExport.Write(Drive(), File("disk.qcow2"));
        byte[] before = System.IO.File.ReadAllBytes(File("disk.qcow2"));
        using ImageFile image = ImageFile.Open(File("disk.qcow2"));
        var drive = new DiskDrive(image.Size, image);
        byte[] expected = All(image);
        Random(9).AsSpan(0, 700 * 512).CopyTo(expected.AsSpan(3 * 512));

        drive.Write(3, Random(9).AsSpan(0, 700 * 512));
        drive.Flush();

        Assert.That(All(drive), Is.EqualTo(expected));
        Assert.That(System.IO.File.ReadAllBytes(File("disk.qcow2")), Is.EqualTo(before));
    }

    [TestCase("-o compat=0.10")]
    [TestCase("-o compat=1.1,cluster_size=512")]
    [TestCase("-o cluster_size=2M")]
    [TestCase("-c")]
    [TestCase("-c -o compression_type=zstd")]
    [TestCase("-c -o cluster_size=4k")]
    [TestCase("-o refcount_bits=1")]
    [TestCase("-o refcount_bits=64,lazy_refcounts=on")]
    [TestCase("-o preallocation=metadata")]
    public void File_that_qemu_made_is_read(string options)
    {
        RequireQemu();
        System.IO.File.WriteAllBytes(File("disk.img"), All(Drive()));
        QemuImg($"convert -f raw -O qcow2 {options} disk.img disk.qcow2");

        using ImageFile image = ImageFile.Open(File("disk.qcow2"));

        Assert.That(All(image), Is.EqualTo(All(Drive())));
    }

    [Test]
    public void Chain_of_backing_files_and_zero_clusters_are_read()
    {
        RequireQemu();
        System.IO.File.WriteAllBytes(File("base.img"), All(Drive()));
        QemuImg("create -f qcow2 -b base.img -F raw middle.qcow2");
        QemuImg($"create -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2 {Size + Cluster}");
        RunTool("qemu-io", "-c", "write -P 0x55 1000k 100k", File("middle.qcow2"));
        RunTool("qemu-io", "-c", "write -z 0 128k", "-c", "write -P 0x66 300k 3k", File("top.qcow2"));
        QemuImg("convert -O raw top.qcow2 top.img");

        using ImageFile image = ImageFile.Open(File("top.qcow2"));

        Assert.That(All(image), Is.EqualTo(System.IO.File.ReadAllBytes(File("top.img"))));
    }

    [Test]
    public void Content_is_of_the_backing_file_too()
    {
        RequireQemu();
        System.IO.File.WriteAllBytes(File("base.img"), All(Drive()));
        QemuImg("create -f qcow2 -b base.img -F raw top.qcow2");
        ImageContent before = Content("top.qcow2");
        RunTool("qemu-io", "-f", "raw", "-c", "write -P 0x55 1000k 1k", File("base.img"));

        Assert.That(Content("top.qcow2"), Is.Not.EqualTo(before));

        ImageContent Content(string name)
        {
            using ImageFile image = ImageFile.Open(File(name));
            return image.ReadContent();
        }
    }

    [Test]
    public void Of_a_file_with_snapshots_the_present_is_read()
    {
        MakeSnapshots();

        using ImageFile image = ImageFile.Open(File("disk.qcow2"));

        Assert.That(All(image), Is.EqualTo(System.IO.File.ReadAllBytes(File("disk.img"))));
    }

    [Test]
    public void Damaged_snapshot_is_refused()
    {
        MakeSnapshots();
        byte[] bytes = System.IO.File.ReadAllBytes(File("disk.qcow2"));
        int snapshot = (int)BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(64));
        int table = (int)BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(snapshot));
        bytes[table + 7] ^= 1;
        System.IO.File.WriteAllBytes(File("disk.qcow2"), bytes);

        var refusal = Assert.Throws<DamagedImageException>(() => ImageFile.Open(File("disk.qcow2")))!;
        Assert.That(refusal.Rule, Is.EqualTo("reserved bits in a first-level table"));
    }

    [Test]
    public void Qemu_finds_nothing_wrong_with_what_is_saved()
    {
        RequireQemu();
        var large = new DiskDrive(3.GiB + 512.KiB);
        for (ulong i = 0; i < 40; i++) large.Write(i * 150_001, Random(i).AsSpan(0, 512 * (1 + (int)i * 10)));
        DiskExport.Write(large, File("disk.qcow2"));
        DiskExport.Write(large, File("disk.img"));

        Assert.That(QemuImg("check disk.qcow2"), Does.Contain("No errors were found"));
        Assert.That(QemuImg("compare disk.qcow2 disk.img"), Does.Contain("identical"));
    }

    // Where, which big-endian number of 1, 4 or 8 bytes, and the rule that it breaks.
    [TestCase(4, 4, 4UL, "unknown version")]
    [TestCase(20, 4, 30UL, "bad cluster size")]
    [TestCase(24, 8, 0UL, "bad disk size")]
    [TestCase(24, 8, 1UL << 60, "bad disk size")]
    [TestCase(32, 4, 1UL, "encrypted")]
    [TestCase(36, 4, 0UL, "bad first-level table size")]
    [TestCase(40, 8, 1UL << 40, "a table lies outside the file")]
    [TestCase(40, 8, 0x10200UL, "a table lies outside the file")]
    [TestCase(48, 8, 0x10000UL, "a cluster is used twice")]
    [TestCase(56, 4, 0UL, "bad reference count table size")]
    [TestCase(60, 4, 1UL, "a table lies outside the file")]
    [TestCase(60, 4, 257UL, "too many internal snapshots")]
    [TestCase(72, 8, 2UL, "marked as corrupt")]
    [TestCase(72, 8, 16UL, "unsupported features")]
    [TestCase(72, 8, 8UL, "bad compression type")]
    [TestCase(96, 4, 7UL, "bad width of reference counts")]
    [TestCase(100, 4, 20UL, "bad header length")]
    [TestCase(8, 8, 0x200UL, "bad name of a backing file")]
    [TestCase(L1 * Cluster, 8, 0x8000_0000_0002_0001UL, "reserved bits in a first-level table")]
    [TestCase(L1 * Cluster, 8, 0x8000_0000_0002_0200UL, "a second-level table is not aligned")]
    [TestCase(L1 * Cluster, 8, 0x8000_0000_0001_0000UL, "a cluster is used twice")]
    [TestCase(L1 * Cluster, 8, 0x0000_0000_0002_0000UL, "a cluster's reference count does not fit its flag")]
    [TestCase(L2 * Cluster, 8, 0x8000_0000_0003_0002UL, "reserved bits in a second-level table")]
    [TestCase(L2 * Cluster, 8, 0x8000_0000_0003_0200UL, "a cluster is not aligned")]
    [TestCase(L2 * Cluster, 8, 0x8000_0100_0000_0000UL, "a cluster lies outside the file")]
    [TestCase(L2 * Cluster, 8, 0x8000_0000_0004_0000UL, "a cluster is used twice")]
    [TestCase(L2 * Cluster, 8, 0x4000_0100_0000_0000UL, "a compressed cluster lies outside the file")]
    [TestCase(L1 * Cluster, 8, 0x8000_0000_0000_0000UL, "an entry without a cluster of its own is flagged")]
    [TestCase(L2 * Cluster, 8, 0x8000_0000_0000_0000UL, "an entry without a cluster of its own is flagged")]
    [TestCase(L2 * Cluster, 8, 0xC000_0000_0003_0000UL, "an entry without a cluster of its own is flagged")]
    public void Damage_is_refused_by_the_rule_that_it_breaks(int at, int width, ulong value, string rule)
    {
        DiskExport.Write(Drive(), File("disk.qcow2"));
        byte[] bytes = System.IO.File.ReadAllBytes(File("disk.qcow2"));
        byte[] number = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(number, value);
        number.AsSpan(8 - width).CopyTo(bytes.AsSpan(at));
        System.IO.File.WriteAllBytes(File("disk.qcow2"), bytes);

        Assert.That(() => ImageFile.Open(File("disk.qcow2")),
            Throws.TypeOf<DamagedImageException>().With.Property("Rule").EqualTo(rule).And.Message.Contains(File("disk.qcow2")));
    }

    [Test]
    public void File_cut_short_is_refused()
    {
        DiskExport.Write(Drive(), File("disk.qcow2"));
        using (FileStream file = System.IO.File.OpenWrite(File("disk.qcow2"))) file.SetLength(2 * Cluster + 100);
        Assert.That(() => ImageFile.Open(File("disk.qcow2")), Throws.TypeOf<DamagedImageException>());
    }

    [Test]
    public void Backing_files_in_a_circle_are_refused()
    {
        RequireQemu();
        QemuImg("create -f qcow2 a.qcow2 1M");
        QemuImg("create -f qcow2 -b a.qcow2 -F qcow2 b.qcow2");
        QemuImg("rebase -u -b b.qcow2 -F qcow2 a.qcow2");
        Assert.That(() => ImageFile.Open(File("b.qcow2")),
            Throws.TypeOf<DamagedImageException>().With.Message.Contains("go in a circle"));
    }

    [Test]
    public void Compressed_cluster_that_does_not_unpack_is_a_read_that_fails()
    {
        RequireQemu();
        System.IO.File.WriteAllBytes(File("disk.img"), All(Drive()));
        QemuImg("convert -c -O qcow2 -o compression_type=zstd disk.img disk.qcow2");
        byte[] bytes = System.IO.File.ReadAllBytes(File("disk.qcow2"));
        byte[] magic = [0x28, 0xB5, 0x2F, 0xFD];
        for (int at; (at = bytes.AsSpan().IndexOf(magic)) >= 0;) bytes[at] = 0;
        System.IO.File.WriteAllBytes(File("disk.qcow2"), bytes);
        using ImageFile image = ImageFile.Open(File("disk.qcow2"));
        var drive = new DiskDrive(image.Size, image);

        Assert.That((drive.Read(0, new byte[512]), drive.Write(0, new byte[512])), Is.EqualTo((false, false)));
    }

    internal static DiskDrive Drive()
    {
        var drive = new DiskDrive(new ByteSize(Size));
        foreach (ulong cluster in new ulong[] { 0, 1, 5, 17, 31 }) drive.Write(cluster * Cluster / 512 + 3, Random(cluster).AsSpan(0, 60 << 10));
        return drive;
    }

    internal static byte[] All(ImageFile image)
    {
        byte[] bytes = new byte[image.Size.Bytes];
        image.Read(0, bytes);
        return bytes;
    }

    internal static bool HasQemu => System.IO.File.Exists("/usr/bin/qemu-img");

    /// <summary>Runs a tool in a folder.</summary>
    internal static (int ExitCode, string Output) RunIn(string folder, string tool, params string[] arguments)
    {
        var start = new ProcessStartInfo(tool, arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd() + error.Result;
        process.WaitForExit();
        return (process.ExitCode, output);
    }

    static byte[] All(DiskDrive drive)
    {
        byte[] bytes = new byte[drive.Size.Bytes];
        drive.Read(0, bytes);
        return bytes;
    }

    // Half of it compresses well.
    static byte[] Random(ulong seed)
    {
        byte[] bytes = new byte[512 << 10];
        Rng random = Rng.FromSeed(seed);
        for (int i = 0; i < bytes.Length; i++) bytes[i] = (i & 512) == 0 ? (byte)random.Next() : (byte)(i >> 10);
        return bytes;
    }

    static void RequireQemu() => Assume.That(HasQemu, "qemu-img is not installed (Debian: apt-get install qemu-utils)");

    /// <summary>Makes a disk.qcow2 that shares clusters with two internal snapshots, and a disk.img of its present state.</summary>
    void MakeSnapshots()
    {
        RequireQemu();
        DiskExport.Write(Drive(), File("disk.qcow2"));
        QemuImg("snapshot -c first disk.qcow2");
        RunTool("qemu-io", "-c", "write -P 0x55 1000k 100k", File("disk.qcow2"));
        QemuImg("snapshot -c second disk.qcow2");
        RunTool("qemu-io", "-c", "write -z 0 64k", File("disk.qcow2"));
        QemuImg("convert -O raw disk.qcow2 disk.img");
    }

    string File(string name) => Path.Combine(_folder, name);

    string QemuImg(string arguments) => RunTool("qemu-img", arguments.Split(' '));

    string RunTool(string tool, params string[] arguments)
    {
        (int exitCode, string output) = RunIn(_folder, tool, arguments);
        Assert.That(exitCode, Is.Zero, output);
        return output;
    }
}
