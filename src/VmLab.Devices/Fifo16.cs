namespace VmLab.Devices;

/// <summary>Up to sixteen bytes, oldest first, in one 128-bit word: to copy it is to snapshot it.</summary>
public readonly record struct Fifo16(UInt128 Bytes, int Count)
{
    public bool IsEmpty => Count == 0;
    public byte Oldest => (byte)Bytes;

    /// <remarks>The caller has seen to it that there is room.</remarks>
    public Fifo16 Push(byte value) => new(Bytes | (UInt128)value << (8 * Count), Count + 1);

    public Fifo16 Pop() => new(Bytes >> 8, Count - 1);
}
