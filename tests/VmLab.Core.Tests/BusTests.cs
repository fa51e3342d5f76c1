using VmLab.Core;

namespace VmLab.Core.Tests;

public sealed class BusTests
{
    readonly PortBus _ports = new();
    readonly Registers _registers = new();

    public BusTests() => _ports.Add(0x100, 4, _registers);

    [Test]
    public void A_wide_access_to_byte_registers_is_that_many_narrow_ones()
    {
        _ports.Write(0x100, 4, 0x44332211);

        Assert.That(_registers.Bytes, Is.EqualTo(new byte[] { 0x11, 0x22, 0x33, 0x44 }));
        Assert.That(_ports.Read(0x101, 2), Is.EqualTo(0x3322));
    }

    [Test]
    public void An_access_that_straddles_the_end_of_a_range_is_split()
    {
        _ports.Write(0x102, 4, 0xDDCCBBAA);

        Assert.That(_registers.Bytes, Is.EqualTo(new byte[] { 0, 0, 0xAA, 0xBB }));
        Assert.That(_ports.Read(0x102, 4), Is.EqualTo(0xFFFFBBAA));
    }

    [Test]
    public void A_port_that_nobody_answers_reads_as_ones_and_is_counted()
    {
        Assert.That(_ports.Read(0x200, 1), Is.EqualTo(0xFF));
        Assert.That(_ports.UnclaimedAccesses, Is.EqualTo(1));
    }

    [Test]
    public void Two_devices_cannot_have_one_port() =>
        Assert.That(() => _ports.Add(0x103, 1, _registers), Throws.InvalidOperationException);

    [Test]
    public void Memory_that_nobody_answers_reads_as_ones_and_is_counted()
    {
        using var pool = new FramePool(16.MiB);
        using var ram = new GuestMemory(pool, 1.MiB);
        var bus = new MemoryBus(ram);

        bus.Write(0xD000_0000, 4, 1);

        Assert.That(bus.Read(0xD000_0000, 4), Is.EqualTo(0xFFFF_FFFF));
        Assert.That(bus.UnclaimedAccesses, Is.EqualTo(2));
    }

    sealed class Registers : IBytePortDevice
    {
        public byte[] Bytes { get; } = new byte[4];
        public byte Read(int offset) => Bytes[offset];
        public void Write(int offset, byte value) => Bytes[offset] = value;
    }
}
