using VmLab.Core;

namespace VmLab.Devices;

/// <summary>
/// A PCI bus with the host bridge and the ISA bridge of an i440FX PC; it keeps the state of all functions on it.
/// </summary>
/// <remarks>
/// Configuration goes by mechanism 1 (ports 0xCF8 and 0xCFC) or by an enhanced window. Base address registers take
/// effect inside the windows that the machine maps, so a guest that moves one over something else hurts nobody but
/// itself. Simplified: one bus; the bridges' own registers are kept and do nothing; pin n of device d drives
/// interrupt (d + n - 1) mod 4.
/// Source: PCI Local Bus Specification 3.0, §3.2.2.3.2 (mechanism 1); Intel 82441FX (290549) and 82371SB (290550)
/// data sheets.
/// </remarks>
public sealed class PciHost : ISnapshot<PciHost.State>, IDrivesLines
{
    /// <param name="Address">The configuration address register.</param>
    /// <param name="Functions">In order of device and function number.</param>
    [Schema("pci-host", version: 1)]
    public record struct State(uint Address, Values<PciFunction.State> Functions);

    public const int InterruptCount = 4;

    const int DeviceCount = 32, FunctionCount = 8;
    const uint Enabled = 0x8000_0000;

    readonly IReadOnlyList<IrqLine> _interrupts;
    readonly PciFunction?[] _slots = new PciFunction?[DeviceCount * FunctionCount];
    PciFunction[] _functions = [];   // in order of slot
    uint _address;

    /// <param name="interrupts">The four shared interrupt lines, PIRQA to PIRQD.</param>
    /// <param name="reset">
    /// Answers byte accesses to port 0xCF9, which lies among the ports of the address register.
    /// </param>
    public PciHost(IReadOnlyList<IrqLine> interrupts, IPortDevice? reset = null)
    {
        _interrupts = interrupts;
        AddressPorts = new AddressRegister(this, reset);
        DataPorts = new DataRegister(this);
        ConfigWindow = new EnhancedWindow(this);
        Add(0, 0, Bridge(device: 0x1237, bridgeClass: 0x060000));
        Add(1, 0, Bridge(device: 0x7000, bridgeClass: 0x060100));
    }

    /// <summary>Four ports, at 0xCF8 on a PC.</summary>
    public IPortDevice AddressPorts { get; }

    /// <summary>Four ports, at 0xCFC on a PC.</summary>
    public IPortDevice DataPorts { get; }

    /// <summary>Enhanced configuration access for bus 0: 1 MiB of memory, where the ACPI MCFG table says.</summary>
    public IMmioDevice ConfigWindow { get; }

    /// <summary>How often a guest touched an address or port of a window that no function answers.</summary>
    public ulong UnclaimedAccesses { get; private set; }

    /// <summary>Puts a function on the bus; devices 0 and 1 are the bridges.</summary>
    /// <param name="device">0 to 31.</param>
    /// <param name="function">0 to 7.</param>
    public void Add(int device, int function, PciFunction pciFunction)
    {
        Require.InRange(device, 0, DeviceCount - 1);
        int slot = device * FunctionCount + Require.InRange(function, 0, FunctionCount - 1);
        if (_slots[slot] is not null)
            throw new InvalidOperationException($"There is a function 00:{device:x2}.{function} already.");
        _slots[slot] = pciFunction;
        _functions = [.. _slots.OfType<PciFunction>()];
        pciFunction.InterruptChanged = DriveInterrupts;
    }

    /// <summary>
    /// What answers memory addresses from <paramref name="first"/> on, as the functions' registers say.
    /// </summary>
    public IMmioDevice MemoryWindow(ulong first) => new MemoryRanges(this, first);

    /// <summary>What answers I/O ports from <paramref name="first"/> on, as the functions' registers say.</summary>
    public IPortDevice PortWindow(int first) => new PortRanges(this, first);

    /// <summary>
    /// Does what firmware does: gives every function addresses and an interrupt number, and lets it decode them.
    /// </summary>
    /// <param name="memory">First free memory address.</param>
    /// <param name="port">First free port.</param>
    /// <param name="interruptNumbers">What each of the four interrupts is to the interrupt controllers.</param>
    public void AssignResources(ulong memory, int port, ReadOnlySpan<byte> interruptNumbers)
    {
        ulong nextPort = (ulong)port;
        for (int slot = 0; slot < _slots.Length; slot++)
        {
            if (_slots[slot] is not { } function) continue;
            byte pin = function.Identity.InterruptPin;
            function.Assign(ref memory, ref nextPort, pin == 0 ? (byte)0 : interruptNumbers[InterruptOf(slot, pin)]);
        }
    }

    public State Save() => new(_address, [.. _functions.Select(function => function.Save())]);

    public void Restore(State state)
    {
        _address = state.Address;
        foreach (var (function, saved) in _functions.Zip(state.Functions)) function.Restore(saved);
    }

    public void RestoreLines()
    {
        for (int i = 0; i < InterruptCount; i++) _interrupts[i].SetSilently(LevelOf(i));
    }

    static PciFunction Bridge(ushort device, uint bridgeClass)
    {
        var bridge = new PciFunction(new PciIdentity(0x8086, device, bridgeClass, Revision: 2));
        Span<byte> own = stackalloc byte[PciFunction.ConfigSize - 0x40];
        own.Fill(0xFF);
        bridge.AllowWrites(0x40, own);
        return bridge;
    }

    static int InterruptOf(int slot, int pin) => (slot / FunctionCount + pin - 1) % InterruptCount;

    bool LevelOf(int interrupt)
    {
        for (int slot = 0; slot < _slots.Length; slot++)
        {
            if (_slots[slot] is not { InterruptLevel: true } function) continue;
            if (InterruptOf(slot, function.Identity.InterruptPin) == interrupt) return true;
        }
        return false;
    }

    void DriveInterrupts()
    {
        for (int i = 0; i < InterruptCount; i++) _interrupts[i].Set(LevelOf(i));
    }

    uint ReadConfig(uint bus, uint slot, int offset, int width) =>
        bus == 0 && _slots[slot] is { IsAbsent: false } function ? function.Read(offset, width) : uint.MaxValue;

    void WriteConfig(uint bus, uint slot, int offset, int width, uint value)
    {
        if (bus == 0 && _slots[slot] is { IsAbsent: false } function) function.Write(offset, width, value);
    }

    /// <summary>
    /// Only a 32-bit access is the address register; others pass by, and one byte of them is the reset register.
    /// </summary>
    sealed class AddressRegister(PciHost host, IPortDevice? reset) : IPortDevice
    {
        public uint Read(int offset, int width) =>
            (offset, width) == (0, 4) ? host._address
            : (offset, width) == (1, 1) && reset is not null ? reset.Read(0, 1)
            : uint.MaxValue;

        public void Write(int offset, int width, uint value)
        {
            if ((offset, width) == (0, 4)) host._address = value & 0x80FF_FFFC;
            else if ((offset, width) == (1, 1)) reset?.Write(0, 1, value);
        }
    }

    sealed class DataRegister(PciHost host) : IPortDevice
    {
        uint Bus => host._address >> 16 & 0xFF;
        uint Slot => host._address >> 8 & 0xFF;
        bool IsOn => (host._address & Enabled) != 0;

        public uint Read(int offset, int width) =>
            IsOn ? host.ReadConfig(Bus, Slot, Register + offset, width) : uint.MaxValue;

        public void Write(int offset, int width, uint value)
        {
            if (IsOn) host.WriteConfig(Bus, Slot, Register + offset, width, value);
        }

        int Register => (int)(host._address & 0xFC);
    }

    sealed class EnhancedWindow(PciHost host) : IMmioDevice
    {
        public ulong Read(ulong offset, int width)
        {
            if (width > 4) return Read(offset, 4) | Read(offset + 4, 4) << 32;
            return host.ReadConfig(BusOf(offset), SlotOf(offset), RegisterOf(offset), width);
        }

        public void Write(ulong offset, int width, ulong value)
        {
            if (width > 4) Write(offset + 4, 4, value >> 32);
            host.WriteConfig(BusOf(offset), SlotOf(offset), RegisterOf(offset), Math.Min(width, 4), (uint)value);
        }

        static uint BusOf(ulong offset) => (uint)(offset >> 20);
        static uint SlotOf(ulong offset) => (uint)(offset >> 12 & 0xFF);
        static int RegisterOf(ulong offset) => (int)(offset & 0xFFF);
    }

    sealed class MemoryRanges(PciHost host, ulong first) : IMmioDevice
    {
        public ulong Read(ulong offset, int width)
        {
            foreach (PciFunction function in host._functions)
            {
                if (function.FindMemory(first + offset, width, out ulong inside) is not { } device) continue;
                return device.Read(inside, width);
            }
            host.UnclaimedAccesses++;
            return ulong.MaxValue;
        }

        public void Write(ulong offset, int width, ulong value)
        {
            foreach (PciFunction function in host._functions)
            {
                if (function.FindMemory(first + offset, width, out ulong inside) is not { } device) continue;
                device.Write(inside, width, value);
                return;
            }
            host.UnclaimedAccesses++;
        }
    }

    sealed class PortRanges(PciHost host, int first) : IPortDevice
    {
        public uint Read(int offset, int width)
        {
            foreach (PciFunction function in host._functions)
            {
                if (function.FindPort(first + offset, width, out int inside) is not { } device) continue;
                return device.Read(inside, width);
            }
            host.UnclaimedAccesses++;
            return uint.MaxValue;
        }

        public void Write(int offset, int width, uint value)
        {
            foreach (PciFunction function in host._functions)
            {
                if (function.FindPort(first + offset, width, out int inside) is not { } device) continue;
                device.Write(inside, width, value);
                return;
            }
            host.UnclaimedAccesses++;
        }
    }
}
