using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Devices.Virtio;

namespace VmLab.Devices.Tests.Virtio;

/// <summary>Every way to break the rules of a ring breaks that device, counts, and nothing else.</summary>
public sealed class MalformedRingTests
{
    const ulong Split = ulong.MaxValue & ~VirtioDriver.Packed;
    const ushort Next = 1, Writable = 2, Table = 4, Available = 0x80;

    readonly VirtioDriver _driver =
        new(board => new VirtioBlock(board, new DiskDrive(1.MiB), "data", DiskTiming.Default));

    [TestCase(0x10_0000UL, 16u, (ushort)0, TestName = "Address_beyond_memory")]
    [TestCase(0xF_FFF8UL, 16u, (ushort)0, TestName = "End_beyond_memory")]
    [TestCase(ulong.MaxValue, 16u, (ushort)0, TestName = "End_beyond_all_addresses")]
    [TestCase(0x1000UL, 0xFFFF_FFFFu, (ushort)0, TestName = "Length_beyond_memory")]
    [TestCase(0x1000UL, 16u, Next, TestName = "Loop")]
    [TestCase(0x1000UL, 16u, (ushort)(Table | Next), TestName = "Table_that_is_not_the_last")]
    [TestCase(0x1000UL, 17u, Table, TestName = "Table_of_odd_length")]
    [TestCase(0x1000UL, 0u, Table, TestName = "Empty_table")]
    [TestCase(0x1000UL, 16u * 1025, Table, TestName = "Table_too_long")]
    [TestCase(0x10_0000UL, 16u, Table, TestName = "Table_beyond_memory")]
    [TestCase(0x4_0000UL, 16u, Table, TestName = "Table_of_a_table")]
    public void Descriptor(ulong address, uint length, ushort flags)
    {
        Start(Split);
        // In a table of a table, and in a loop, the descriptor that is named is this one.
        PutDescriptor(_driver.Queue(0).Descriptors, address, length, flags, next: 0);
        Offer(head: 0);
        AssertBroken();
    }

    [Test]
    public void Readable_after_writable()
    {
        Start(Split);
        _driver.Queue(0).Add(_driver.In(16), _driver.Out(new byte[16]));
        _driver.Kick(0);
        AssertBroken();
    }

    [Test]
    public void Head_beyond_the_queue()
    {
        Start(Split);
        Offer(head: 8);
        AssertBroken();
    }

    [Test]
    public void Next_beyond_the_queue()
    {
        Start(Split);
        PutDescriptor(_driver.Queue(0).Descriptors, 0x1000, 16, Next, next: 8);
        Offer(head: 0);
        AssertBroken();
    }

    [Test]
    public void More_chains_than_the_queue_has_room_for()
    {
        Start(Split);
        _driver.Memory.Write16(_driver.Queue(0).Driver + 2, 9);
        _driver.Kick(0);
        AssertBroken();
    }

    [Test]
    public void Chain_that_transfers_too_much()
    {
        Start(Split);
        _driver.Queue(0).UsesTables = true;
        _driver.Queue(0).Add([.. Enumerable.Repeat(new Piece(0, 1 << 20, IsWritable: true), 65)]);
        _driver.Kick(0);
        AssertBroken();
    }

    [Test]
    public void Tables_that_were_not_negotiated()
    {
        Start(0);
        _driver.Queue(0).UsesTables = true;
        _driver.Queue(0).Add(_driver.In(16));
        _driver.Kick(0);
        AssertBroken();
    }

    [TestCase(Available | Next, 0x0000, TestName = "Packed_chain_that_ends_in_nothing")]
    [TestCase(Available | Next, Available | Table, TestName = "Packed_table_after_the_first")]
    [TestCase(Available | Next, Available | Next, TestName = "Packed_loop")]
    [TestCase(Available | Writable | Next, Available, TestName = "Packed_readable_after_writable")]
    [TestCase(Available | Table | Next, Available, TestName = "Packed_table_that_is_not_the_last")]
    public void Packed(int first, int others)
    {
        Start(ulong.MaxValue);
        for (int i = 0; i < 8; i++)
            PutDescriptor(_driver.Queue(0).Descriptors + 16 * (ulong)i, 0x1000, 16, 0, (ushort)(i == 0 ? first : others));
        _driver.Kick(0);
        AssertBroken();
    }

    [TestCase(Split, (ushort)0, TestName = "Split_ring_of_no_descriptors")]
    [TestCase(Split, (ushort)6, TestName = "Split_ring_of_no_power_of_two")]
    [TestCase(Split, (ushort)512, TestName = "Split_ring_too_large")]
    [TestCase(ulong.MaxValue, (ushort)0, TestName = "Packed_ring_of_no_descriptors")]
    [TestCase(ulong.MaxValue, (ushort)257, TestName = "Packed_ring_too_large")]
    public void Queue_size(ulong features, ushort size)
    {
        _driver.Negotiate(features).WithQueue(0, size).Ready();
        AssertBroken();
    }

    [TestCase(0x20, 0x1008UL, TestName = "Descriptors_not_aligned")]
    [TestCase(0x20, 0x10_0000UL, TestName = "Descriptors_beyond_memory")]
    [TestCase(0x28, 0x1001UL, TestName = "Driver_area_not_aligned")]
    [TestCase(0x30, 0x1002UL, TestName = "Device_area_not_aligned")]
    [TestCase(0x30, 0xFFFF_FFFF_FFFF_FFF0UL, TestName = "Device_area_beyond_all_addresses")]
    public void Queue_place(int register, ulong address)
    {
        _driver.Negotiate(Split);
        _driver.Write(register, 8, address);
        _driver.Write(0x1C, 2, 1);
        _driver.Ready();
        AssertBroken();
    }

    [Test]
    public void Chain_that_changes_after_the_doorbell_counts_as_it_is_when_it_is_served()
    {
        Start(Split);
        _driver.Queue(0).Add(_driver.Out(new byte[16]), _driver.In(1));
        _driver.Kick(0);
        PutDescriptor(_driver.Queue(0).Descriptors, ulong.MaxValue, 16, Next, next: 1);
        _driver.Settle();
        AssertBroken();
    }

    void Start(ulong features) => _driver.Negotiate(features).WithQueue(0).Ready();

    void Offer(ushort head)
    {
        _driver.Memory.Write16(_driver.Queue(0).Driver + 4, head);
        _driver.Memory.Write16(_driver.Queue(0).Driver + 2, 1);
        _driver.Kick(0);
    }

    void PutDescriptor(ulong at, ulong address, uint length, ushort flagsOrId, ushort next)
    {
        _driver.Memory.Write64(at, address);
        _driver.Memory.Write32(at + 8, length);
        _driver.Memory.Write16(at + 12, flagsOrId);
        _driver.Memory.Write16(at + 14, next);
    }

    void AssertBroken()
    {
        Assert.That((_driver.Device.Transport.Malformed, _driver.Status & 64), Is.EqualTo((1UL, 64)));
        _driver.Kick(0);
        Assert.That((_driver.Device.NextDeadline, _driver.Device.Transport.Malformed), Is.EqualTo((ulong.MaxValue, 1UL)), "it rests");
    }
}
