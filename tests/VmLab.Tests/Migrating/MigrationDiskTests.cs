using VmLab.Core;
using VmLab.Devices.Storage;
using static VmLab.Tests.Migrating.Moving;

namespace VmLab.Tests.Migrating;

/// <summary>Disks go with their machine: what was written over their image, and what is not durable yet.</summary>
public sealed class MigrationDiskTests
{
    const int ImageSize = 1 << 20, SectorsPerChunk = 8, Chunks = ImageSize / 4096;

    static readonly Migration[] s_modes =
        [Migration.StopAndCopy(), Migration.PreCopy(30.Milliseconds), Migration.PostCopy(30.Milliseconds), Migration.Auto(30.Milliseconds).Compress()];

    string _image = "";

    [SetUp]
    public void MakeImage()
    {
        byte[] bytes = new byte[ImageSize];
        new Random(7).NextBytes(bytes);
        File.WriteAllBytes(_image = Path.GetTempFileName(), bytes);
    }

    [TearDown]
    public void RemoveImage() => File.Delete(_image);

    [Test]
    public void A_disk_that_is_written_all_the_time_comes_as_it_went([ValueSource(nameof(s_modes))] Migration how, [Values] bool hasImage)
    {
        Fleet fleet = Hosts().Vm("one", vm => (hasImage ? vm.Disk("data", _image) : vm.Disk("data", new ByteSize(ImageSize)))
            .Boot(Guest.Program(asm => Scribble(asm, pages: 64, pause: 20_000))).Memory(6.MiB).On(A));
        Run(fleet, async (lab, vm) =>
        {
            var random = Rng.FromSeed(11);
            byte[] before = [], after = [];
            int unflushed = 0;
            lab.Every(100.Microseconds).Do(_ =>
            {
                if (vm.IsRunning && vm.HostName == "a") Write(vm, ref random);
            });
            using (lab.Always("the disk is looked at", () =>
            {
                if (vm.IsFrozen && vm.HostName == "a") (before, unflushed) = (Bytes(vm), vm.Disk("data").UnflushedWrites);
                if (vm.HostName == "b" && after.Length == 0) after = Bytes(vm);
                return true;
            }))
                Assert.That((await lab.Migrate(vm, B, how)).Outcome, Is.EqualTo(MigrationOutcome.Completed));

            Assert.That(after, Is.EqualTo(before));
            Assert.That(vm.Disk("data").UnflushedWrites, Is.EqualTo(unflushed).And.GreaterThan(0));
            AssertNothingLeaks(lab);
        });
    }

    [Test]
    public void What_was_flushed_before_outlives_a_power_cut_after([ValueSource(nameof(s_modes))] Migration how)
    {
        Fleet fleet = Hosts().Vm("one", vm => vm.Disk("data", _image)
            .Boot(Guest.Program(asm => Scribble(asm, pages: 16, pause: 20_000))).Memory(6.MiB).On(A));
        byte[] image = File.ReadAllBytes(_image);
        Run(fleet, async (lab, vm) =>
        {
            Fill(vm, chunk: 1, value: 0x11);
            vm.Powered.Machine.Pc.Drive("data").Flush();
            for (int chunk = 2; chunk < 60; chunk++) Fill(vm, chunk, value: 0x22);
            byte[] written = Bytes(vm);
            Assert.That((await lab.Migrate(vm, B, how)).Outcome, Is.EqualTo(MigrationOutcome.Completed));
            Assert.That(Bytes(vm), Is.EqualTo(written));

            vm.PowerOff();
            vm.PowerOn();

            byte[] left = Bytes(vm);
            Assert.That(left[4096..8192], Is.All.EqualTo(0x11));
            Assert.That(left, Is.Not.EqualTo(written), "some of what was not flushed is lost");
            Assert.That(left.AsSpan(0, 4096).SequenceEqual(image.AsSpan(0, 4096)) && left.AsSpan(60 * 4096).SequenceEqual(image.AsSpan(60 * 4096)));
            Assert.That(vm.HostName, Is.EqualTo("b"));
        });
    }

    // As a guest would: writes, zeros over what was there, and now and then a flush.
    static void Write(Vm vm, ref Rng random)
    {
        DiskDrive drive = vm.Powered.Machine.Pc.Drive("data");
        Fill(vm, (int)random.NextBelow(Chunks), (byte)random.Next());
        if (random.NextBelow(3) == 0) drive.Zero(random.NextBelow(Chunks) * SectorsPerChunk, SectorsPerChunk);
        if (random.NextBelow(50) == 0) drive.Flush();
    }

    static void Fill(Vm vm, int chunk, byte value)
    {
        byte[] bytes = new byte[4096];
        Array.Fill(bytes, value);
        vm.Powered.Machine.Pc.Drive("data").Write((ulong)chunk * SectorsPerChunk, bytes);
    }

    static byte[] Bytes(Vm vm)
    {
        byte[] bytes = new byte[ImageSize];
        vm.Disk("data").Read(0, bytes);
        return bytes;
    }
}
