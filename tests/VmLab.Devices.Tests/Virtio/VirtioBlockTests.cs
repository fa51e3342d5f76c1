using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Devices.Virtio;

namespace VmLab.Devices.Tests.Virtio;

public sealed class VirtioBlockTests
{
    const uint In = 0, Out = 1, Flush = 4, GetId = 8, Discard = 11, WriteZeroes = 13;
    const byte Ok = 0, IoError = 1, Unsupported = 2;
    const ulong AllFeatures = ulong.MaxValue & ~VirtioDriver.Packed, ConfigWriteBack = 1 << 11;

    readonly DiskDrive _drive = new(1.MiB);
    readonly VirtioDriver _driver;

    public VirtioBlockTests() => _driver = NewDriver(_drive);

    [TestCase(AllFeatures, false, TestName = "Split")]
    [TestCase(AllFeatures, true, TestName = "Split_with_tables")]
    [TestCase(0UL, false, TestName = "Split_without_extras")]
    [TestCase(ulong.MaxValue, false, TestName = "Packed")]
    [TestCase(ulong.MaxValue, true, TestName = "Packed_with_tables")]
    [TestCase(VirtioDriver.Packed, false, TestName = "Packed_without_extras")]
    public void What_was_written_is_read_back_over_many_laps_of_the_ring(ulong features, bool usesTables)
    {
        _driver.Negotiate(features).WithQueue(0).Ready().Queue(0).UsesTables = usesTables;
        for (byte i = 0; i < 50; i++)
        {
            byte[] sectors = [.. Enumerable.Repeat(i, 1024)];
            Piece status = _driver.In(1), data = _driver.In(1024);
            Assert.That(_driver.Do(0, Header(Out, i), _driver.Out(sectors), status), Is.EqualTo(1));
            Assert.That(_driver.Do(0, Header(In, i), data, _driver.In(1)), Is.EqualTo(1025));
            Assert.That((_driver.Bytes(status)[0], _driver.Bytes(data)), Is.EqualTo((Ok, sectors)));
        }
        Assert.That(_driver.Device.Transport.Malformed, Is.Zero);
    }

    [Test]
    public void Nothing_is_done_inside_the_doorbell()
    {
        Start();
        _driver.Queue(0).Add(Header(Out, 0), _driver.Out(new byte[512]), _driver.In(1));
        _driver.Kick(0);

        Assert.That(_driver.Queue(0).Take(), Is.Null);
        Assert.That(_driver.Device.NextDeadline, Is.EqualTo(5_000 + 529));
    }

    [Test]
    public void Parts_of_a_request_may_be_cut_anywhere()
    {
        Start();
        byte[] sector = [.. Enumerable.Range(0, 512).Select(i => (byte)i)];
        byte[] header = HeaderBytes(Out, 3);
        _driver.Do(0, _driver.Out(header[..5]), _driver.Out([.. header[5..], .. sector[..7]]), _driver.Out(sector[7..]), _driver.In(1));

        Piece first = _driver.In(100), rest = _driver.In(413);
        _driver.Do(0, Header(In, 3), first, rest);

        Assert.That((byte[])[.. _driver.Bytes(first), .. _driver.Bytes(rest)], Is.EqualTo((byte[])[.. sector, Ok]));
    }

    [TestCase(In, 2048UL, 512, IoError, TestName = "Reads_beyond_the_end_fail")]
    [TestCase(In, ulong.MaxValue, 512, IoError, TestName = "Reads_at_no_sector_fail")]
    [TestCase(In, 0UL, 511, IoError, TestName = "Reads_of_parts_of_sectors_fail")]
    [TestCase(77u, 0UL, 512, Unsupported, TestName = "Unknown_requests_are_unsupported")]
    public void Bad_request(uint type, ulong sector, int length, byte expected)
    {
        Start();
        Piece status = _driver.In(1);
        _driver.Do(0, Header(type, sector), _driver.In(length), status);
        Assert.That((_driver.Bytes(status)[0], _driver.Status), Is.EqualTo((expected, VirtioDriver.Live)));
    }

    [Test]
    public void Request_without_room_for_a_status_breaks_the_device()
    {
        Start();
        _driver.Queue(0).Add(Header(Flush, 0));
        _driver.Kick(0);
        _driver.Settle();
        Assert.That((_driver.Status & VirtioDriver.NeedsReset, _driver.Device.Transport.Malformed), Is.EqualTo((64, 1UL)));
    }

    [Test]
    public void Writes_wait_in_the_cache_for_a_flush()
    {
        Start();
        _driver.Do(0, Header(Out, 0), _driver.Out(new byte[512]), _driver.In(1));
        Assert.That(_drive.UnflushedWrites, Is.EqualTo(1));
        _driver.Do(0, Header(Flush, 0), _driver.In(1));
        Assert.That(_drive.UnflushedWrites, Is.Zero);
    }

    [Test]
    public void Cache_that_is_turned_off_keeps_nothing()
    {
        Start();
        _driver.Write(VirtioDriver.Config + 32, 1, 0);
        _driver.Do(0, Header(Out, 0), _driver.Out(new byte[512]), _driver.In(1));
        Assert.That((_drive.UnflushedWrites, _driver.Read(VirtioDriver.Config + 32, 1)), Is.EqualTo((0, 0UL)));
    }

    [Test]
    public void Driver_that_knows_no_flush_gets_durable_writes()
    {
        _driver.Negotiate(0).WithQueue(0).Ready();
        _driver.Do(0, Header(Out, 0), _driver.Out(new byte[512]), _driver.In(1));
        Assert.That(_drive.UnflushedWrites, Is.Zero);
    }

    [TestCase(Discard, 0u, Ok)]
    [TestCase(WriteZeroes, 1u, Ok)]
    [TestCase(Discard, 1u, Unsupported)]
    [TestCase(WriteZeroes, 2u, Unsupported)]
    public void Ranges_become_zeros(uint type, uint flags, byte expected)
    {
        Start();
        _driver.Do(0, Header(Out, 4), _driver.Out([.. Enumerable.Repeat((byte)9, 1024)]), _driver.In(1));
        byte[] range = [.. BitConverter.GetBytes(5UL), .. BitConverter.GetBytes(1), .. BitConverter.GetBytes(flags)];
        Piece status = _driver.In(1), data = _driver.In(1024);
        _driver.Do(0, Header(type, 0), _driver.Out(range), status);
        _driver.Do(0, Header(In, 4), data, _driver.In(1));
        Assert.That(_driver.Bytes(status)[0], Is.EqualTo(expected));
        Assert.That((_driver.Bytes(data)[511], _driver.Bytes(data)[512]), Is.EqualTo((9, expected == Ok ? 0 : 9)));
    }

    [Test]
    public void Identifier_is_the_name()
    {
        Start();
        Piece id = _driver.In(20);
        _driver.Do(0, Header(GetId, 0), id, _driver.In(1));
        Assert.That(_driver.Bytes(id)[..6], Is.EqualTo("data\0\0"u8.ToArray()));
    }

    [Test]
    public void Configuration_tells_the_size()
    {
        Assert.That(_driver.Read(VirtioDriver.Config, 8), Is.EqualTo(2048));
        Assert.That(_driver.Read(VirtioDriver.Config + 20, 4), Is.EqualTo(512));
        Assert.That(_driver.Read(VirtioDriver.Config + 32, 1), Is.EqualTo(1));
        Assert.That(_driver.Read(VirtioDriver.Config + 36, 4), Is.Not.Zero);
    }

    [Test]
    public void Disk_that_is_read_only_says_so_and_refuses()
    {
        VirtioDriver driver = NewDriver(new DiskDrive(1.MiB, isReadOnly: true)).Negotiate(AllFeatures).WithQueue(0).Ready();
        Piece status = driver.In(1);
        driver.Do(0, driver.Out(HeaderBytes(Out, 0)), driver.Out(new byte[512]), status);
        Assert.That((driver.Bytes(status)[0], driver.Features & 0x20), Is.EqualTo((IoError, 0x20UL)));
    }

    [TestCase(AllFeatures), TestCase(ulong.MaxValue)]
    public void Restored_device_behaves_as_the_saved_one(ulong features) =>
        Laws.RestoredBehavesAsSaved(() => NewBench(features), VirtioBench.Pokes(0x40));

    [TestCase(AllFeatures), TestCase(ulong.MaxValue)]
    public void Bears_anything(ulong features) =>
        Laws.BearsAnything(() => NewBench(features), VirtioBench.Pokes(0x4000));

    static Bench<VirtioBench.State<VirtioBlock.State>> NewBench(ulong features) => VirtioBench.Of<VirtioBlock.State>(
        board => new VirtioBlock(board, new Stripes(), "data", DiskTiming.Default), features);

    static VirtioDriver NewDriver(DiskDrive drive) => new(board => new VirtioBlock(board, drive, "data", DiskTiming.Default));

    void Start() => _driver.Negotiate(AllFeatures).WithQueue(0).Ready();

    Piece Header(uint type, ulong sector) => _driver.Out(HeaderBytes(type, sector));

    /// <summary>Remembers nothing: every sector reads as its number.</summary>
    sealed class Stripes : IBlockBackend
    {
        public ulong Sectors => 2048;
        public bool IsReadOnly => false;
        public bool Write(ulong sector, ReadOnlySpan<byte> bytes) => true;
        public bool Zero(ulong sector, ulong count) => true;
        public bool Flush() => true;

        public bool Read(ulong sector, Span<byte> bytes)
        {
            bytes.Fill((byte)sector);
            return true;
        }
    }

    static byte[] HeaderBytes(uint type, ulong sector) =>
        [.. BitConverter.GetBytes(type), 0, 0, 0, 0, .. BitConverter.GetBytes(sector)];
}
