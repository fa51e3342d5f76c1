using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Devices.Virtio;

namespace VmLab.Devices.Tests.Virtio;

/// <summary>Registers, features, queues and interrupts of the PCI transport, whatever device is behind it.</summary>
public sealed class VirtioPciTests
{
    const byte VendorCapability = 9, MsixCapability = 0x11;
    const ulong Split = ulong.MaxValue & ~VirtioDriver.Packed & ~VirtioDriver.EventIndex;
    const ulong SplitEvents = ulong.MaxValue & ~VirtioDriver.Packed, PackedEvents = ulong.MaxValue;

    readonly VirtioDriver _driver =
        new(board => new VirtioBlock(board, new DiskDrive(1.MiB), "data", DiskTiming.Default));

    [TestCase(1, 0x0000, 0x38)]
    [TestCase(2, 0x3000, 4)]
    [TestCase(3, 0x1000, 1)]
    [TestCase(4, 0x2000, 60)]
    public void Structures_are_found_by_capabilities(int kind, int offset, int length)
    {
        int at = _driver.Capability(VendorCapability, (byte)kind);
        Assert.That(_driver.ReadConfig(at + 4, 1), Is.Zero, "the first range");
        Assert.That((_driver.ReadConfig(at + 8, 4), _driver.ReadConfig(at + 12, 4)), Is.EqualTo(((uint)offset, (uint)length)));
    }

    [Test]
    public void Identity_is_that_of_a_modern_device() =>
        Assert.That((_driver.ReadConfig(0, 4), _driver.ReadConfig(8, 1)), Is.EqualTo((0x10421AF4u, 1u)));

    [Test]
    public void Registers_are_reached_without_memory_accesses()
    {
        int at = _driver.Capability(VendorCapability, 5);
        _driver.WriteConfig(at + 8, 4, VirtioDriver.StatusRegister);
        _driver.WriteConfig(at + 12, 4, 1);
        _driver.WriteConfig(at + 16, 1, 3);
        Assert.That((_driver.Status, _driver.ReadConfig(at + 16, 1)), Is.EqualTo((3, 3u)));

        _driver.WriteConfig(at + 12, 4, 3);
        _driver.WriteConfig(at + 16, 1, 7);
        Assert.That(_driver.Status, Is.EqualTo(3), "a length that is none");
    }

    [Test]
    public void Features_are_fixed_once_both_agree()
    {
        _driver.Negotiate(Split);
        _driver.Write(8, 4, 0);
        _driver.Write(0xC, 4, 0);
        Assert.That((_driver.Status, _driver.Read(0xC, 4)), Is.EqualTo((11, (ulong)(uint)_driver.Features)));
    }

    [TestCase(0u, 0u, TestName = "Legacy_drivers_are_refused")]
    [TestCase(1u << 3, 1u, TestName = "Features_not_offered_are_refused")]
    public void Refused(uint low, uint high)
    {
        _driver.Write(VirtioDriver.StatusRegister, 1, 3);
        _driver.Write(0xC, 4, low);
        _driver.Write(8, 4, 1);
        _driver.Write(0xC, 4, high);
        _driver.Write(VirtioDriver.StatusRegister, 1, 11);
        Assert.That(_driver.Status, Is.EqualTo(3));
    }

    [Test]
    public void Reset_forgets_queues_features_and_interrupts()
    {
        Start(Split);
        Flush();
        _driver.Write(VirtioDriver.StatusRegister, 1, 0);
        Assert.That((_driver.Status, _driver.Read(0x1C, 2), _driver.Read(0x18, 2)), Is.EqualTo((0, 0UL, 256UL)));
        Assert.That((_driver.IsInterrupting, _driver.Read(VirtioDriver.InterruptStatus, 1)), Is.EqualTo((false, 0UL)));
    }

    [Test]
    public void Without_msix_reading_the_interrupt_status_releases_the_pin()
    {
        Start(Split);
        Flush();
        Assert.That(_driver.IsInterrupting, Is.True);
        Assert.That(_driver.Read(VirtioDriver.InterruptStatus, 1), Is.EqualTo(1));
        Assert.That((_driver.IsInterrupting, _driver.Read(VirtioDriver.InterruptStatus, 1)), Is.EqualTo((false, 0UL)));
    }

    [Test]
    public void Msix_sends_the_message_of_the_queues_vector()
    {
        EnableMsix();
        Start(Split);
        _driver.Write(0x1A, 2, 1);
        Flush();
        Assert.That(_driver.Messages, Is.EqualTo(new[] { (0xFEE0_1000UL, 0x41u) }));
        Assert.That((_driver.IsInterrupting, _driver.Read(0x1A, 2)), Is.EqualTo((false, 1UL)));
    }

    [Test]
    public void Vector_beyond_the_table_reads_back_as_none()
    {
        _driver.Write(0x10, 2, 2);
        Assert.That(_driver.Read(0x10, 2), Is.EqualTo(0xFFFF));
    }

    [TestCase(false), TestCase(true)]
    public void Masked_message_is_pending_until_it_may_go(bool byFunction)
    {
        EnableMsix();
        Start(Split);
        _driver.Write(0x1A, 2, 1);
        Mask(byFunction, isMasked: true);
        Flush();
        Assert.That((_driver.Messages.Count, _driver.ReadMsix(0x800, 8)), Is.EqualTo((0, 2UL)));

        Mask(byFunction, isMasked: false);
        Assert.That((_driver.Messages.Count, _driver.ReadMsix(0x800, 8)), Is.EqualTo((1, 0UL)));
    }

    [Test]
    public void Flag_of_the_available_ring_silences_interrupts()
    {
        Start(Split);
        _driver.Memory.Write16(_driver.Queue(0).Driver, 1);
        Flush();
        Assert.That(_driver.IsInterrupting, Is.False);
    }

    [TestCase(SplitEvents), TestCase(PackedEvents)]
    public void Interrupt_comes_at_the_event_index_alone(ulong features)
    {
        Start(features);
        bool isPacked = features == PackedEvents;
        // The third completion: of a split ring its number, of a packed one its first descriptor, lap and way.
        if (isPacked) _driver.Memory.Write32(_driver.Queue(0).Driver, 0x0002_8004);
        else _driver.Memory.Write16(_driver.Queue(0).Driver + 4 + 2 * 8, 2);
        List<bool> interrupts = [];
        for (int i = 0; i < 5; i++)
        {
            Flush();
            interrupts.Add(_driver.Read(VirtioDriver.InterruptStatus, 1) == 1);
        }
        Assert.That(interrupts, Is.EqualTo([false, false, true, false, false]));
    }

    [Test]
    public void Idle_device_asks_for_the_next_notification()
    {
        Start(SplitEvents);
        Flush();
        Flush();
        Assert.That(_driver.Memory.Read16(_driver.Queue(0).Device + 4 + 8 * 8), Is.EqualTo(2));
    }

    [Test]
    public void Device_that_is_no_bus_master_leaves_memory_alone()
    {
        Start(Split);
        _driver.WriteConfig(4, 2, 0x0402);
        _driver.Queue(0).Add(_driver.Out(new byte[16]), _driver.In(1));
        _driver.Kick(0);
        _driver.Settle();
        Assert.That(_driver.Queue(0).Take(), Is.Null);
    }

    [Test]
    public void Broken_device_says_so_and_a_reset_mends_it()
    {
        EnableMsix();
        _driver.Write(0x10, 2, 0);
        Start(Split);
        _driver.Write(0x10, 2, 0);
        _driver.Memory.Write16(_driver.Queue(0).Driver + 2, 9);
        _driver.Kick(0);
        Assert.That((_driver.Status, _driver.Device.Transport.Malformed), Is.EqualTo((VirtioDriver.Live | 64, 1UL)));
        Assert.That(_driver.Messages, Is.EqualTo(new[] { (0xFEE0_0000UL, 0x40u) }), "a change of the configuration");

        Start(Split);
        Flush();
        Assert.That(_driver.Status, Is.EqualTo(VirtioDriver.Live));
    }

    void Start(ulong features) => _driver.Negotiate(features).WithQueue(0).Ready();

    void Flush() => _driver.Do(0, _driver.Out([4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), _driver.In(1));

    void EnableMsix()
    {
        for (int vector = 0; vector < 2; vector++)
        {
            _driver.WriteMsix(16 * vector, 4, 0xFEE0_0000 | (ulong)vector << 12);
            _driver.WriteMsix(16 * vector + 8, 4, 0x40UL + (ulong)vector);
            _driver.WriteMsix(16 * vector + 12, 4, 0);
        }
        _driver.WriteConfig(_driver.Capability(MsixCapability) + 2, 2, 0x8000);
    }

    void Mask(bool byFunction, bool isMasked)
    {
        if (byFunction) _driver.WriteConfig(_driver.Capability(MsixCapability) + 2, 2, isMasked ? 0xC000u : 0x8000);
        else _driver.WriteMsix(16 + 12, 4, isMasked ? 1UL : 0);
    }
}
