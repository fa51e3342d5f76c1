using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Devices.Tests.Virtio;
using VmLab.Devices.Virtio;

namespace VmLab.Devices.Tests.Storage;

/// <summary>What a driver sees of a disk that has gone bad.</summary>
public sealed class FaultyDriveTests
{
    const uint In = 0, Out = 1, Flush = 4, Discard = 11;
    const byte Ok = 0, IoError = 1;
    const int SectorSize = 512;

    readonly FaultyDrive _drive = new(new DiskDrive(1.MiB), Rng.FromSeed(1));
    readonly List<string> _effects = [];
    readonly VirtioDriver _driver;

    public FaultyDriveTests()
    {
        _drive.Affected = _effects.Add;
        _driver = new VirtioDriver(board => new VirtioBlock(board, _drive, "data", DiskTiming.Default));
        _driver.Negotiate(ulong.MaxValue & ~VirtioDriver.Packed).WithQueue(0).Ready();
    }

    [TestCase(DiskOperations.Reads, 1, 0, 0)]
    [TestCase(DiskOperations.Writes, 0, 1, 0)]
    [TestCase(DiskOperations.Flushes, 0, 0, 1)]
    [TestCase(DiskOperations.All, 1, 1, 1)]
    public void Requests_of_a_kind_fail(DiskOperations operations, byte read, byte write, byte flush)
    {
        _drive.Add(Of(DriveFaultKind.Error, operations));

        Assert.That((Read(0).Status, Write(0, 1), Do(Flush, 0)), Is.EqualTo((read, write, flush)));
    }

    [TestCase(9UL, 1, Ok), TestCase(9UL, 2, IoError), TestCase(12UL, 1, IoError), TestCase(13UL, 1, Ok)]
    public void Requests_fail_that_touch_a_range(ulong sector, int count, byte expected)
    {
        _drive.Add(Of(DriveFaultKind.Error, DiskOperations.Writes) with { FirstSector = 10, EndSector = 13 });

        Assert.That(Write(sector, count), Is.EqualTo(expected));
    }

    [Test]
    public void Only_so_many_requests_are_met()
    {
        _drive.Add(Of(DriveFaultKind.Error, DiskOperations.Reads) with { Left = 2 });

        Assert.That(Enumerable.Range(0, 4).Select(_ => Read(0).Status), Is.EqualTo(new[] { IoError, IoError, Ok, Ok }));
        Assert.That(_effects, Is.EqualTo(Enumerable.Repeat("read of sector 0 fails", 2)));
        Assert.That(_drive.Save().Faults, Is.Empty);
    }

    [Test]
    public void Fault_that_is_taken_away_is_over_even_if_it_met_some()
    {
        DriveFault fault = Of(DriveFaultKind.Error, DiskOperations.Reads) with { Left = 5 };
        _drive.Add(fault);
        Read(0);
        _drive.Remove(fault);

        Assert.That(Read(0).Status, Is.EqualTo(Ok));
    }

    [Test]
    public void Slow_disk_takes_its_time()
    {
        _drive.Add(Of(DriveFaultKind.Latency, DiskOperations.All) with { DelayNanoseconds = 7_000_000 });
        ulong before = _driver.Clock.Now;
        Do(Flush, 0);

        Assert.That(_driver.Clock.Now - before, Is.EqualTo(7_000_000 + 5_000 + 50_000 + 17));
    }

    [Test]
    public void Dropped_write_succeeds_and_is_not_there()
    {
        Write(4, 2);
        _drive.Add(Of(DriveFaultKind.Dropped, DiskOperations.Writes) with { Left = 1 });

        Assert.That(Write(4, 2, value: 9), Is.EqualTo(Ok));
        Assert.That(Read(4).Value, Is.EqualTo(1));
        Assert.That(_effects, Is.EqualTo(new[] { "write of sectors 4 to 5 is dropped" }));
    }

    [Test]
    public void Torn_write_leaves_its_first_sectors()
    {
        _drive.Add(Of(DriveFaultKind.Torn, DiskOperations.Writes));
        var arrived = new HashSet<int>();
        for (ulong i = 0; i < 60; i++)
        {
            Assert.That(Write(i * 4, 4), Is.EqualTo(Ok));
            byte[] bytes = new byte[4 * SectorSize];
            _drive.Drive.Read(i * 4, bytes);
            int end = bytes.AsSpan().IndexOf((byte)0);
            Assert.That(bytes.AsSpan(end).IndexOfAnyExcept((byte)0), Is.EqualTo(-1));
            arrived.Add(end / SectorSize);
        }
        Assert.That(arrived, Is.EquivalentTo(new[] { 0, 1, 2, 3 }));
    }

    [Test]
    public void Discards_can_be_dropped_too()
    {
        Write(8, 1);
        _drive.Add(Of(DriveFaultKind.Dropped, DiskOperations.Writes));
        byte[] range = [.. BitConverter.GetBytes(8UL), .. BitConverter.GetBytes(1), .. new byte[4]];

        _driver.Do(0, Header(Discard, 0), _driver.Out(range), _driver.In(1));

        Assert.That(Read(8).Value, Is.EqualTo(1));
    }

    [Test]
    public void Reordered_flush_keeps_some_blocks_from_a_power_loss_but_none_from_a_reader()
    {
        _drive.Add(Of(DriveFaultKind.Reordered, DiskOperations.Flushes) with { Left = 1 });
        for (ulong block = 0; block < 20; block++) Write(block * 8, 8);
        Assert.That(Do(Flush, 0), Is.EqualTo(Ok));
        int waiting = _drive.Drive.UnflushedWrites;
        Assert.That(waiting, Is.InRange(3, 17));
        Assert.That(Enumerable.Range(0, 20).Select(block => Read((ulong)block * 8).Value), Has.All.EqualTo(1));

        DiskMoment moment = _drive.Drive.Snapshot();
        var durable = new SparseImage(1.MiB);
        durable.Restore(moment.Durable);
        Assert.That(Enumerable.Range(0, 20).Count(block => First(durable, block * 8) == 1), Is.EqualTo(20 - waiting));

        Do(Flush, 0);
        Assert.That(_drive.Drive.UnflushedWrites, Is.Zero);
    }

    [Test]
    public void Full_disk_takes_writes_only_where_it_has_been_written()
    {
        Write(0, 1);
        _drive.Add(Of(DriveFaultKind.Full, DiskOperations.Writes));

        Assert.That((Write(7, 1), Write(8, 1), Write(7, 2), Read(8).Status), Is.EqualTo((Ok, IoError, IoError, Ok)));
        Assert.That(_effects, Has.Count.EqualTo(2).And.All.EndsWith("fails: no room"));
    }

    [Test]
    public void Rot_flips_one_bit_of_something_that_was_written()
    {
        Write(16, 8);
        _drive.Drive.Flush();
        Rng random = Rng.FromSeed(4);
        ulong sector = _drive.Drive.DrawSector(ref random);
        _drive.Drive.Rot(sector, bit: 4095);

        byte[] bytes = new byte[8 * SectorSize];
        _drive.Drive.Read(16, bytes);
        Assert.That(sector, Is.InRange(16, 23));
        Assert.That(bytes.Count(value => value != 1), Is.EqualTo(1));
        Assert.That(bytes[(int)(sector - 16) * SectorSize + 511], Is.EqualTo(0x81));
    }

    [Test]
    public void Power_that_goes_before_a_write_leaves_any_part_of_it_and_nothing_after()
    {
        var left = new HashSet<int>();
        for (ulong seed = 0; seed < 60; seed++)
        {
            var drive = new FaultyDrive(new DiskDrive(1.MiB), Rng.FromSeed(1));
            drive.Requested = _ => drive.Drive.LosePower(Rng.FromSeed(seed));
            drive.Begin(new DiskRequest(DiskOperations.Writes, 0, 4));
            drive.Requested = null;
            Assert.That(drive.Write(0, Filled(4, 1)), Is.False);
            Assert.That(drive.Flush(), Is.False);
            byte[] bytes = new byte[4 * SectorSize];
            drive.Drive.Read(0, bytes);
            left.Add(bytes.Count(value => value == 1) / SectorSize);
            Assert.That(drive.Drive.UnflushedWrites, Is.Zero);
        }
        Assert.That(left, Is.EquivalentTo(new[] { 0, 1, 2, 3, 4 }));
    }

    [Test]
    public void Flush_that_the_power_does_not_outlast_keeps_nothing_by_itself()
    {
        Write(0, 1);
        _drive.Requested = _ => _drive.Drive.LosePower(Rng.FromSeed(1));
        Assert.That(Do(Flush, 0), Is.EqualTo(IoError));
    }

    [Test]
    public void Restored_drive_is_as_broken_as_the_saved_one()
    {
        _drive.Add(Of(DriveFaultKind.Torn, DiskOperations.Writes));
        FaultyDrive.State state = _drive.Save();
        var other = new FaultyDrive(new DiskDrive(1.MiB), Rng.FromSeed(2));
        other.Restore(state);
        foreach (FaultyDrive drive in new[] { _drive, other })
        {
            drive.Begin(new DiskRequest(DiskOperations.Writes, 0, 100));
            drive.Write(0, Filled(100, 1));
        }

        Assert.That(Sum(other), Is.EqualTo(Sum(_drive)).And.InRange(1, 99 * SectorSize));
        Assert.That(other.Save(), Is.EqualTo(_drive.Save()));
    }

    static int Sum(FaultyDrive drive)
    {
        byte[] bytes = new byte[100 * SectorSize];
        drive.Drive.Read(0, bytes);
        return bytes.Sum(value => value);
    }

    static byte First(SparseImage image, int sector)
    {
        byte[] bytes = new byte[1];
        image.Read((ulong)sector * SectorSize, bytes);
        return bytes[0];
    }

    static DriveFault Of(DriveFaultKind kind, DiskOperations operations) => new(kind, operations, 0, ulong.MaxValue, 0, 0);

    static byte[] Filled(int sectors, byte value) => [.. Enumerable.Repeat(value, sectors * SectorSize)];

    Piece Header(uint type, ulong sector) =>
        _driver.Out([.. BitConverter.GetBytes(type), 0, 0, 0, 0, .. BitConverter.GetBytes(sector)]);

    byte Do(uint type, ulong sector)
    {
        Piece status = _driver.In(1);
        _driver.Do(0, Header(type, sector), status);
        return _driver.Bytes(status)[0];
    }

    byte Write(ulong sector, int count, byte value = 1)
    {
        Piece status = _driver.In(1);
        _driver.Do(0, Header(Out, sector), _driver.Out(Filled(count, value)), status);
        return _driver.Bytes(status)[0];
    }

    (byte Status, byte Value) Read(ulong sector)
    {
        Piece status = _driver.In(1), data = _driver.In(SectorSize);
        _driver.Do(0, Header(In, sector), data, status);
        return (_driver.Bytes(status)[0], _driver.Bytes(data)[0]);
    }
}
