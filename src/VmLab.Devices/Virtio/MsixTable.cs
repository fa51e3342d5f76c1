using System.Buffers.Binary;
using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>The MSI-X capability of a PCI function, with its table and its pending bits in one range of memory.</summary>
/// <remarks>
/// The table lies at offset 0 of a 4 KiB range, the pending bits at 0x800. Source: PCI Local Bus Specification 3.0,
/// §6.8.2 (capability and structures), §6.8.3 (operation).
/// </remarks>
public sealed class MsixTable : IMmioDevice, ISnapshot<MsixTable.State>
{
    /// <param name="Pending">A bit for each vector whose message was held back by a mask.</param>
    [Schema("msix-table", version: 1)]
    public readonly record struct State(Values<Vector> Vectors, ulong Pending);

    /// <summary>An entry of the table.</summary>
    /// <param name="Control">Bit 0 masks the vector.</param>
    public readonly record struct Vector(ulong Address, uint Data, uint Control)
    {
        internal bool IsMasked => (Control & 1) != 0;
    }

    public const int MostVectors = 64;

    /// <summary>Bytes of the range of memory.</summary>
    public const ulong Size = 0x1000;

    const byte CapabilityId = 0x11;
    const ulong PendingBits = 0x800;
    const int EntrySize = 16, MessageControl = 2;
    const byte Enabled = 0x80, FunctionMask = 0x40;     // of the upper byte of message control

    readonly PciFunction _function;
    readonly Action<ulong, uint> _send;
    readonly int _capability;
    readonly Vector[] _vectors;
    ulong _pending;

    /// <param name="bar">Number of the base address register that the range is to have.</param>
    /// <param name="send">Takes the address and data of each message.</param>
    public MsixTable(PciFunction function, int bar, int vectors, Action<ulong, uint> send)
    {
        _function = function;
        _send = send;
        _vectors = new Vector[Require.InRange(vectors, 1, MostVectors)];
        Array.Fill(_vectors, new Vector(0, 0, 1));
        byte low = (byte)bar;
        _capability = function.AddCapability(
            CapabilityId, [(byte)(vectors - 1), 0, low, 0, 0, 0, low, (byte)(PendingBits >> 8), 0, 0],
            [0, Enabled | FunctionMask]);
        function.AddBar(bar, new PciMemoryBar(Size, this));
    }

    public bool IsEnabled => (Control & Enabled) != 0;

    public int Count => _vectors.Length;

    byte Control => _function.Peek(_capability + MessageControl + 1, 1)[0];

    /// <summary>Sends a vector's message, or keeps it pending while it is masked; a number beyond the table is none.</summary>
    public void Signal(ushort vector)
    {
        if (vector >= Count || !IsEnabled) return;
        _pending |= 1UL << vector;
        SendPending();
    }

    /// <summary>To be called when the guest has written configuration space.</summary>
    public void ConfigWritten(int offset, int width)
    {
        int control = _capability + MessageControl;
        if (offset < control + 2 && control < offset + width) SendPending();
    }

    public ulong Read(ulong offset, int width)
    {
        Span<byte> entry = stackalloc byte[EntrySize];
        entry.Clear();
        if (offset >= PendingBits) BinaryPrimitives.WriteUInt64LittleEndian(entry, offset < PendingBits + 8 ? _pending : 0);
        else if (offset < (ulong)(Count * EntrySize)) Encode(_vectors[offset / EntrySize], entry);
        int inside = (int)(offset % (offset >= PendingBits ? 8UL : EntrySize));
        ulong value = 0;
        for (int i = 0; i < width && inside + i < EntrySize; i++) value |= (ulong)entry[inside + i] << 8 * i;
        return value;
    }

    // Drivers write whole or half entries' words; other accesses are undefined, and do nothing.
    public void Write(ulong offset, int width, ulong value)
    {
        if (offset >= (ulong)(Count * EntrySize) || width < 4 || offset % (ulong)width != 0) return;
        Span<byte> bytes = stackalloc byte[EntrySize];
        ref Vector vector = ref _vectors[offset / EntrySize];
        Encode(vector, bytes);
        int inside = (int)(offset % EntrySize);
        for (int i = 0; i < width; i++) bytes[inside + i] = (byte)(value >> 8 * i);
        vector = new Vector(
            BinaryPrimitives.ReadUInt64LittleEndian(bytes) & ~3UL, BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]) & 1);
        SendPending();
    }

    public State Save() => new([.. _vectors], _pending);

    public void Restore(State state)
    {
        state.Vectors.Span.CopyTo(_vectors);
        _pending = state.Pending;
    }

    void SendPending()
    {
        if (_pending == 0 || (Control & (Enabled | FunctionMask)) != Enabled) return;
        for (int i = 0; i < Count; i++)
        {
            if ((_pending & 1UL << i) == 0 || _vectors[i].IsMasked) continue;
            _pending &= ~(1UL << i);
            _send(_vectors[i].Address, _vectors[i].Data);
        }
    }

    static void Encode(in Vector vector, Span<byte> entry)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(entry, vector.Address);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[8..], vector.Data);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[12..], vector.Control);
    }
}
