using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>A buffer that the driver made available: what the device reads, then what it writes.</summary>
/// <remarks>
/// All of it is RAM, checked before a device sees it. Source: VIRTIO 1.2, §2.6 (virtqueues), §2.7.4.2 (device-readable
/// parts come first).
/// </remarks>
public sealed class VirtioChain(GuestMemory memory)
{
    /// <summary>The longest indirect table that a chain may have.</summary>
    public const int MostSegments = 1024;

    /// <summary>What one chain may transfer, so that no request takes the host long.</summary>
    public const ulong MostBytes = 64 << 20;

    readonly record struct Segment(ulong Address, uint Length);

    readonly List<Segment> _readable = [], _writable = [];

    /// <summary>What the device gives back when it is done.</summary>
    public ushort Id { get; internal set; }

    /// <summary>Bytes that the device may read.</summary>
    public uint Readable { get; private set; }

    /// <summary>Bytes that the device may write.</summary>
    public uint Writable { get; private set; }

    /// <summary>How many descriptors of the ring it takes up.</summary>
    internal int RingDescriptors { get; set; }

    internal void Clear()
    {
        _readable.Clear();
        _writable.Clear();
        (Readable, Writable, RingDescriptors) = (0, 0, 0);
    }

    /// <summary>Appends what one descriptor names.</summary>
    /// <returns><see langword="false"/>: it is malformed.</returns>
    internal bool TryAdd(ulong address, uint length, bool isWritable)
    {
        if (_readable.Count + _writable.Count >= MostSegments || !memory.IsRam(address, length)) return false;
        if ((ulong)Readable + Writable + length > MostBytes || !isWritable && _writable.Count > 0) return false;
        (isWritable ? _writable : _readable).Add(new Segment(address, length));
        if (isWritable) Writable += length;
        else Readable += length;
        return true;
    }

    /// <summary>Copies from the readable part.</summary>
    /// <param name="offset">From its first byte; the range lies inside it.</param>
    public void Read(uint offset, Span<byte> destination)
    {
        foreach ((ulong address, uint length) in _readable)
        {
            if (destination.IsEmpty) return;
            int count = Overlap(ref offset, length, destination.Length);
            if (count == 0) continue;
            memory.Read(address + offset, destination[..count]);
            destination = destination[count..];
            offset = 0;
        }
    }

    /// <summary>Copies into the writable part.</summary>
    /// <param name="offset">From its first byte; the range lies inside it.</param>
    public void Write(uint offset, ReadOnlySpan<byte> source)
    {
        foreach ((ulong address, uint length) in _writable)
        {
            if (source.IsEmpty) return;
            int count = Overlap(ref offset, length, source.Length);
            if (count == 0) continue;
            memory.Write(address + offset, source[..count]);
            source = source[count..];
            offset = 0;
        }
    }

    /// <summary>How much of a wanted range lies in this segment; an offset beyond it is moved on to the next.</summary>
    static int Overlap(ref uint offset, uint length, int wanted)
    {
        if (offset < length) return (int)Math.Min(length - offset, (uint)wanted);
        offset -= length;
        return 0;
    }
}
