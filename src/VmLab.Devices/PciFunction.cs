using System.Buffers.Binary;
using System.Numerics;
using VmLab.Core;

namespace VmLab.Devices;

/// <summary>Who a PCI function is: what its read-only header says.</summary>
/// <param name="Class">Class, subclass and programming interface: 24 bits.</param>
/// <param name="InterruptPin">1 to 4 for INTA to INTD, 0 for none.</param>
public readonly record struct PciIdentity(
    ushort Vendor, ushort Device, uint Class, byte Revision = 0, ushort SubsystemVendor = 0, ushort Subsystem = 0,
    byte InterruptPin = 0, bool IsMultifunction = false);

/// <summary>
/// A PCI function's configuration space: 256 bytes with a header, base address registers and a capability list.
/// </summary>
/// <remarks>
/// A device has a function, it is none: it makes one, adds its ranges and capabilities, and hands it to a
/// <see cref="PciHost"/>, which keeps its state. All that a guest may write is a mask; what it reads back follows.
/// Simplified: header type 0, no expansion ROM, no parity or system errors. Source: PCI Local Bus Specification 3.0,
/// §6.1, §6.2, §6.7.
/// </remarks>
public sealed class PciFunction : ISnapshot<PciFunction.State>
{
    /// <param name="Config">All 256 bytes.</param>
    /// <param name="IsInterrupting">
    /// The device asserts its interrupt pin, whether or not the guest lets it through.
    /// </param>
    [Schema("pci-function", version: 1)]
    public readonly record struct State(Values<byte> Config, bool IsInterrupting);

    public const int ConfigSize = 256, BarCount = 6;

    const int Command = 0x04, Status = 0x06, CacheLine = 0x0C, HeaderType = 0x0E, FirstBar = 0x10,
              SubsystemVendor = 0x2C, Capabilities = 0x34, InterruptLine = 0x3C, InterruptPin = 0x3D,
              FirstCapability = 0x40;
    const ushort DecodesPorts = 0x0001, DecodesMemory = 0x0002, MasterEnable = 0x0004, InterruptDisable = 0x0400,
                 WritableCommand = 0x0547;
    const byte HasCapabilities = 0x10, InterruptStatus = 0x08;

    readonly record struct Range(ulong First, PciBar Bar);

    readonly byte[] _writable = new byte[ConfigSize];
    readonly PciBar?[] _bars = new PciBar?[BarCount];
    Range[] _decoded = [];
    State _state;
    int _lastCapability, _nextCapability = FirstCapability;

    public PciFunction(PciIdentity identity)
    {
        Identity = identity;
        Span<byte> config = stackalloc byte[ConfigSize];
        config.Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(config, identity.Vendor);
        BinaryPrimitives.WriteUInt16LittleEndian(config[2..], identity.Device);
        BinaryPrimitives.WriteUInt32LittleEndian(config[8..], identity.Class << 8 | identity.Revision);
        config[HeaderType] = (byte)(identity.IsMultifunction ? 0x80 : 0);
        BinaryPrimitives.WriteUInt16LittleEndian(config[SubsystemVendor..], identity.SubsystemVendor);
        BinaryPrimitives.WriteUInt16LittleEndian(config[(SubsystemVendor + 2)..], identity.Subsystem);
        config[InterruptPin] = identity.InterruptPin;
        _state = new State(Values.Of<byte>(config), false);
        AllowWrites(Command, [WritableCommand & 0xFF, WritableCommand >> 8]);
        AllowWrites(CacheLine, [0xFF, 0xFF]);   // and the latency timer
        AllowWrites(InterruptLine, [0xFF]);
    }

    public PciIdentity Identity { get; }

    /// <summary>Whether the guest lets the device reach memory by itself.</summary>
    public bool IsBusMaster => !IsAbsent && (ReadWord(Command) & MasterEnable) != 0;

    /// <summary>It was pulled out: nothing answers in its place. No part of its own record.</summary>
    public bool IsAbsent { get; set; }

    /// <summary>Told the offset and width of each write of the guest, once it is done.</summary>
    public Action<int, int>? Written { get; set; }

    /// <summary>Told the offset and width of each read of the guest, before it is done.</summary>
    public Action<int, int>? Reading { get; set; }

    /// <summary>Level of the interrupt pin as the bus sees it.</summary>
    public bool InterruptLevel => !IsAbsent && _state.IsInterrupting && (ReadWord(Command) & InterruptDisable) == 0;

    internal Action? InterruptChanged { get; set; }

    /// <summary>Gives the function a range of addresses. A wide one takes the next register too.</summary>
    /// <param name="index">Of the base address register, 0 to 5.</param>
    public void AddBar(int index, PciBar bar)
    {
        ulong least = bar is PciPortBar ? 4UL : 16;
        if (!BitOperations.IsPow2(bar.Size) || bar.Size < least)
            throw new ArgumentException($"A range of {bar.Size} bytes is no power of two, or too small.", nameof(bar));
        bool isWide = bar is PciMemoryBar { IsWide: true };
        Require.InRange(index, 0, isWide ? BarCount - 2 : BarCount - 1);
        _bars[index] = bar;
        Span<byte> mask = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(mask, ~(bar.Size - 1));
        AllowWrites(FirstBar + 4 * index, mask[..(isWide ? 8 : 4)]);
        int kind = bar is PciMemoryBar memory ? (memory.IsWide ? 4 : 0) | (memory.IsPrefetchable ? 8 : 0) : 1;
        Patch(FirstBar + 4 * index, (byte)kind);
    }

    /// <summary>Appends a capability to the list.</summary>
    /// <param name="body">What follows the identifier and the link: the capability from its byte 2 on.</param>
    /// <param name="writable">Which bits of <paramref name="body"/> the guest may write; empty for none.</param>
    /// <returns>Offset of the capability, a multiple of 4.</returns>
    public int AddCapability(byte identifier, ReadOnlySpan<byte> body, ReadOnlySpan<byte> writable = default)
    {
        int offset = _nextCapability, end = offset + 2 + body.Length;
        if (end > ConfigSize) throw new InvalidOperationException("The capabilities do not fit into 256 bytes.");
        Patch(_lastCapability == 0 ? Capabilities : _lastCapability + 1, (byte)offset);
        Patch(Status, (byte)(Config[Status] | HasCapabilities));
        Patch(offset, identifier);
        for (int i = 0; i < body.Length; i++) Patch(offset + 2 + i, body[i]);
        AllowWrites(offset + 2, writable);
        (_lastCapability, _nextCapability) = (offset, (end + 3) & ~3);
        return offset;
    }

    /// <summary>Lets the guest write some bits that nothing else gives a meaning to.</summary>
    public void AllowWrites(int offset, ReadOnlySpan<byte> mask) => mask.CopyTo(_writable.AsSpan(offset));

    /// <summary>Sets bytes of configuration space from the device's side, whether or not the guest may write them.</summary>
    public void Set(int offset, ReadOnlySpan<byte> bytes)
    {
        Span<byte> config = stackalloc byte[ConfigSize];
        Config.CopyTo(config);
        bytes.CopyTo(config[offset..]);
        _state = _state with { Config = Values.Of<byte>(config) };
    }

    /// <summary>Bytes of configuration space as they are, without telling the device.</summary>
    public ReadOnlySpan<byte> Peek(int offset, int length) => Config.Slice(offset, length);

    /// <summary>Asserts or releases the interrupt pin.</summary>
    public void SetInterrupt(bool high)
    {
        if (high == _state.IsInterrupting) return;
        _state = _state with { IsInterrupting = high };
        InterruptChanged?.Invoke();
    }

    /// <summary>Reads configuration space; what lies beyond reads as ones.</summary>
    public uint Read(int offset, int width)
    {
        Reading?.Invoke(offset, width);
        uint value = 0;
        for (int i = 0; i < width; i++) value |= (uint)ReadByte(offset + i) << 8 * i;
        return value;
    }

    /// <summary>Writes the bits of configuration space that may be written.</summary>
    public void Write(int offset, int width, uint value)
    {
        if (offset < 0 || offset + width > ConfigSize) return;
        Span<byte> config = stackalloc byte[ConfigSize];
        Config.CopyTo(config);
        for (int i = 0; i < width; i++)
        {
            byte mask = _writable[offset + i];
            config[offset + i] = (byte)(config[offset + i] & ~mask | (byte)(value >> 8 * i) & mask);
        }
        _state = _state with { Config = Values.Of<byte>(config) };
        if (offset < FirstBar + 4 * BarCount) Decode();
        if (offset < Status) InterruptChanged?.Invoke();
        Written?.Invoke(offset, width);
    }

    public State Save() => _state;

    public void Restore(State state)
    {
        _state = state;
        Decode();
    }

    /// <summary>Who answers a memory address, if this function does.</summary>
    internal IMmioDevice? FindMemory(ulong address, int width, out ulong offset)
    {
        foreach (Range range in _decoded)
        {
            offset = address - range.First;
            if (range.Bar is not PciMemoryBar bar || offset >= bar.Size) continue;
            if (offset + (ulong)width <= bar.Size) return bar.Device;
        }
        offset = 0;
        return null;
    }

    /// <summary>Who answers an I/O port, if this function does.</summary>
    internal IPortDevice? FindPort(int port, int width, out int offset)
    {
        foreach (Range range in _decoded)
        {
            offset = port - (int)range.First;
            if (range.Bar is PciPortBar bar && offset >= 0 && offset + width <= (int)bar.Size) return bar.Device;
        }
        offset = 0;
        return null;
    }

    /// <summary>
    /// Does what firmware does: gives each range the next free addresses of its kind, and starts decoding.
    /// </summary>
    internal void Assign(ref ulong memory, ref ulong port, byte interruptLine)
    {
        for (int index = 0; index < BarCount; index++)
        {
            if (_bars[index] is not { } bar) continue;
            ref ulong next = ref bar is PciPortBar ? ref port : ref memory;
            next = (next + bar.Size - 1) & ~(bar.Size - 1);
            Write(FirstBar + 4 * index, 4, (uint)next);
            if (bar is PciMemoryBar { IsWide: true }) Write(FirstBar + 4 * index + 4, 4, (uint)(next >> 32));
            next += bar.Size;
        }
        Write(Command, 2, DecodesPorts | DecodesMemory);
        Write(InterruptLine, 1, interruptLine);
    }

    ReadOnlySpan<byte> Config => _state.Config.Span;

    ushort ReadWord(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(Config[offset..]);

    byte ReadByte(int offset)
    {
        if (offset is < 0 or >= ConfigSize) return 0xFF;
        return offset == Status && _state.IsInterrupting ? (byte)(Config[offset] | InterruptStatus) : Config[offset];
    }

    void Patch(int offset, byte value) => _state = _state with { Config = _state.Config.With(offset, value) };

    // The ranges that answer, as the command and base address registers stand.
    void Decode()
    {
        var decoded = new List<Range>();
        ushort command = ReadWord(Command);
        for (int index = 0; index < BarCount; index++)
        {
            if (_bars[index] is not { } bar) continue;
            if ((command & (bar is PciPortBar ? DecodesPorts : DecodesMemory)) == 0) continue;
            ulong low = BinaryPrimitives.ReadUInt32LittleEndian(Config[(FirstBar + 4 * index)..]);
            ulong high = bar is PciMemoryBar { IsWide: true }
                ? BinaryPrimitives.ReadUInt32LittleEndian(Config[(FirstBar + 4 * index + 4)..]) : 0;
            decoded.Add(new Range((high << 32 | low) & ~(bar.Size - 1), bar));
        }
        _decoded = [.. decoded];
    }
}
