using CsCheck;
using VmLab.Core;

namespace VmLab.Devices.Tests;

public sealed class PciHostTests
{
    const uint Enable = 0x8000_0000;
    const ulong Window = 0xC000_0000;

    readonly IrqLine[] _interrupts = [.. Enumerable.Range(0, 4).Select(_ => new IrqLine())];
    readonly Registers _memory = new(), _ports = new();
    readonly List<byte> _resets = [];
    readonly PciFunction _function;
    readonly PciHost _host;

    public PciHostTests()
    {
        _function = new PciFunction(new PciIdentity(0x1AF4, 0x1042, 0x010000, 1, 0x1AF4, 2, InterruptPin: 1));
        _function.AddBar(0, new PciPortBar(64, _ports));
        _function.AddBar(1, new PciMemoryBar(0x1000, _memory));
        _function.AddBar(4, new PciMemoryBar(0x4000, _memory, IsWide: true, IsPrefetchable: true));
        _host = new PciHost(_interrupts, new ByteSink(_resets));
        _host.Add(3, 0, _function);
    }

    [Test]
    public void Mechanism_one_is_found_as_linux_probes_it()
    {
        _host.AddressPorts.Write(3, 1, 0x01);
        _host.AddressPorts.Write(0, 4, Enable);
        Assert.That(_host.AddressPorts.Read(0, 4), Is.EqualTo(Enable));
        Assert.That(_host.DataPorts.Read(0, 4), Is.EqualTo(0x12378086));
        Assert.That(ReadConfig(0, 0x0A, 2), Is.EqualTo(0x0600), "a host bridge");
    }

    [Test]
    public void Isa_bridge_is_device_1() => Assert.That(ReadConfig(1, 0, 4), Is.EqualTo(0x70008086));

    [Test]
    public void Empty_slots_and_other_buses_read_as_ones()
    {
        Assert.That(ReadConfig(5, 0, 4), Is.EqualTo(uint.MaxValue));
        _host.AddressPorts.Write(0, 4, Enable | 0x10000);
        Assert.That(_host.DataPorts.Read(0, 4), Is.EqualTo(uint.MaxValue));
        _host.AddressPorts.Write(0, 4, 0);
        Assert.That(_host.DataPorts.Read(0, 4), Is.EqualTo(uint.MaxValue), "not enabled");
    }

    [Test]
    public void Header_tells_who_it_is()
    {
        Assert.That(ReadConfig(3, 0x00, 4), Is.EqualTo(0x10421AF4));
        Assert.That(ReadConfig(3, 0x08, 4), Is.EqualTo(0x01000001));
        Assert.That(ReadConfig(3, 0x2C, 4), Is.EqualTo(0x00021AF4));
        Assert.That((ReadConfig(3, 0x3D, 1), ReadConfig(3, 0x0E, 1)), Is.EqualTo((1u, 0u)));
        WriteConfig(3, 0x00, 4, 0);
        Assert.That(ReadConfig(3, 0x00, 4), Is.EqualTo(0x10421AF4), "read-only");
    }

    [TestCase(0x10, 0xFFFF_FFC1u, TestName = "Ports")]
    [TestCase(0x14, 0xFFFF_F000u, TestName = "Memory")]
    [TestCase(0x18, 0x0000_0000u, TestName = "Absent")]
    [TestCase(0x20, 0xFFFF_C00Cu, TestName = "Wide_prefetchable_memory")]
    [TestCase(0x24, 0xFFFF_FFFFu, TestName = "Upper_half")]
    [TestCase(0x30, 0x0000_0000u, TestName = "Expansion_rom")]
    public void Base_address_register_tells_its_size(int offset, uint readBack)
    {
        WriteConfig(3, offset, 4, uint.MaxValue);
        Assert.That(ReadConfig(3, offset, 4), Is.EqualTo(readBack));
    }

    [Test]
    public void Memory_answers_where_the_register_says_once_enabled()
    {
        IMmioDevice window = _host.MemoryWindow(Window);
        WriteConfig(3, 0x14, 4, 0xC800_0000);
        window.Write(0x0800_0010, 4, 1);
        Assert.That((_memory.LastOffset, _host.UnclaimedAccesses), Is.EqualTo((ulong.MaxValue, 1UL)));

        WriteConfig(3, 0x04, 2, 0x0002);
        window.Write(0x0800_0010, 4, 1);
        Assert.That(_memory.LastOffset, Is.EqualTo(0x10));
        Assert.That(window.Read(0x0800_0020, 4), Is.EqualTo(0x20));
        Assert.That(window.Read(0x0800_1000, 4), Is.EqualTo(ulong.MaxValue), "one past the end");
    }

    [Test]
    public void Wide_memory_uses_both_halves_of_its_base()
    {
        IMmioDevice window = _host.MemoryWindow(0x1_0000_0000);
        WriteConfig(3, 0x20, 4, 0x4000_0000);
        WriteConfig(3, 0x24, 4, 1);
        WriteConfig(3, 0x04, 2, 0x0002);
        Assert.That(window.Read(0x4000_0008, 8), Is.EqualTo(8));
    }

    [Test]
    public void Ports_answer_where_the_register_says_once_enabled()
    {
        IPortDevice window = _host.PortWindow(0x1000);
        WriteConfig(3, 0x10, 4, 0xC040);
        WriteConfig(3, 0x04, 2, 0x0001);
        Assert.That(window.Read(0xC044 - 0x1000, 4), Is.EqualTo(4));
        Assert.That(window.Read(0xC080 - 0x1000, 4), Is.EqualTo(uint.MaxValue));
    }

    [Test]
    public void Capabilities_are_a_list()
    {
        int first = _function.AddCapability(0x09, [0x10, 1, 4, 0, 0]);
        int second = _function.AddCapability(0x11, [0x03, 0x00, 0, 0, 0, 0], [0x00, 0xC0]);

        Assert.That((first, second), Is.EqualTo((0x40, 0x48)));
        Assert.That((ReadConfig(3, 0x06, 2), ReadConfig(3, 0x34, 1)), Is.EqualTo((0x10u, 0x40u)));
        Assert.That((ReadConfig(3, 0x40, 4), ReadConfig(3, 0x48, 2)), Is.EqualTo((0x01104809u, 0x0011u)));
        WriteConfig(3, 0x4A, 2, 0xFFFF);
        Assert.That(ReadConfig(3, 0x4A, 2), Is.EqualTo(0xC003), "only what may be written");
    }

    [Test]
    public void Interrupt_pins_are_shared_lines_by_device_and_pin()
    {
        var other = new PciFunction(new PciIdentity(0x1AF4, 0x1041, 0x020000, InterruptPin: 1));
        _host.Add(7, 0, other);
        _function.SetInterrupt(true);
        other.SetInterrupt(true);
        Assert.That(_interrupts.Select(line => line.IsHigh), Is.EqualTo([false, false, false, true]));

        _function.SetInterrupt(false);
        Assert.That(_interrupts[3].IsHigh, Is.True, "the other still asks");
        other.SetInterrupt(false);
        Assert.That(_interrupts[3].IsHigh, Is.False);
    }

    [Test]
    public void Interrupt_status_shows_what_the_command_register_holds_back()
    {
        WriteConfig(3, 0x04, 2, 0x0400);
        _function.SetInterrupt(true);
        Assert.That((_interrupts[3].IsHigh, ReadConfig(3, 0x06, 2) & 8), Is.EqualTo((false, 8u)));
        WriteConfig(3, 0x04, 2, 0);
        Assert.That(_interrupts[3].IsHigh, Is.True);
    }

    [Test]
    public void Firmware_assigns_aligned_ranges_and_interrupt_numbers()
    {
        _host.AssignResources(Window + 0x10, 0x1004, [16, 17, 18, 19]);
        Assert.That(ReadConfig(3, 0x10, 4), Is.EqualTo(0x1041));
        Assert.That(ReadConfig(3, 0x14, 4), Is.EqualTo(Window + 0x1000));
        Assert.That(ReadConfig(3, 0x20, 4), Is.EqualTo(Window + 0x4000 | 0xC));
        Assert.That((ReadConfig(3, 0x04, 2), ReadConfig(3, 0x3C, 1)), Is.EqualTo((3u, 19u)));
    }

    [Test]
    public void Enhanced_window_reaches_the_same_registers()
    {
        Assert.That(_host.ConfigWindow.Read(3 << 15, 4), Is.EqualTo(0x10421AF4));
        Assert.That(_host.ConfigWindow.Read(3 << 15 | 0x100, 4), Is.EqualTo(uint.MaxValue), "no extended space");
        _host.ConfigWindow.Write(3 << 15 | 0x3C, 1, 9);
        Assert.That(ReadConfig(3, 0x3C, 1), Is.EqualTo(9));
    }

    [Test]
    public void Byte_at_cf9_is_the_reset_register()
    {
        _host.AddressPorts.Write(1, 1, 0x06);
        Assert.That((_resets, _host.AddressPorts.Read(0, 4)), Is.EqualTo((new List<byte> { 6 }, 0u)));
    }

    [Test]
    public void Slot_is_taken_once() =>
        Assert.That(() => _host.Add(3, 0, _function), Throws.InvalidOperationException);

    [Test]
    public void Restored_bus_behaves_as_the_saved_one() =>
        Laws.RestoredBehavesAsSaved(NewBench, Poke.Wild(9, 64, 1, 2, 4));

    [Test]
    public void Bears_anything() => Laws.BearsAnything(NewBench, Poke.Wild(9, 5000, 1, 2, 4));

    uint ReadConfig(uint device, int offset, int width)
    {
        _host.AddressPorts.Write(0, 4, Enable | device << 11 | (uint)offset & 0xFC);
        return _host.DataPorts.Read(offset & 3, width) & (width == 4 ? uint.MaxValue : (1U << 8 * width) - 1);
    }

    void WriteConfig(uint device, int offset, int width, uint value)
    {
        _host.AddressPorts.Write(0, 4, Enable | device << 11 | (uint)offset & 0xFC);
        _host.DataPorts.Write(offset & 3, width, value);
    }

    static Bench<PciHost.State> NewBench()
    {
        var bus = new PciHostTests();
        bus._function.AddCapability(0x11, [0x03, 0x00, 0, 0, 0, 0], [0x00, 0xC0]);
        PciHost host = bus._host;
        (IMmioDevice memory, IPortDevice ports) = (host.MemoryWindow(0), host.PortWindow(0));
        return new(host, new VirtualClock(), Act, () => bus._interrupts.Select(line => line.IsHigh ? 1UL : 0));

        ulong Act(Poke poke)
        {
            bus._memory.LastOffset = bus._ports.LastOffset = 0;
            switch (poke.Kind)
            {
                case Poke.Read: return bus.ReadConfig(3, poke.Offset, poke.Width);
                case Poke.Write: bus.WriteConfig(3, poke.Offset, poke.Width, (uint)poke.Value); break;
                case 3: bus._function.SetInterrupt((poke.Value & 1) != 0); break;
                case 4: host.ConfigWindow.Write(poke.Value, poke.Width * 2, poke.Value >> 7); break;
                case 5: return host.ConfigWindow.Read(poke.Value, poke.Width * 2);
                case 6: return memory.Read(poke.Value, poke.Width);
                case 7: ports.Write((int)(poke.Value & 0xFFFF), poke.Width, 1); break;
                default: host.DataPorts.Write(poke.Offset, poke.Width, (uint)poke.Value); break;
            }
            return bus._memory.LastOffset + bus._ports.LastOffset;
        }
    }

    sealed class Registers : IMmioDevice, IPortDevice
    {
        public ulong LastOffset { get; set; } = ulong.MaxValue;

        public ulong Read(ulong offset, int width) => LastOffset = offset;
        public void Write(ulong offset, int width, ulong value) => LastOffset = offset;
        public uint Read(int offset, int width) => (uint)(LastOffset = (ulong)offset);
        public void Write(int offset, int width, uint value) => LastOffset = (ulong)offset;
    }

    sealed class ByteSink(List<byte> written) : IBytePortDevice
    {
        public byte Read(int offset) => 0;
        public void Write(int offset, byte value) => written.Add(value);
    }
}
