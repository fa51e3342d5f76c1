namespace VmLab.Core;

/// <summary>The 65,536 I/O ports of a PC. A port that nobody answers reads as ones and swallows writes.</summary>
public sealed class PortBus
{
    readonly record struct Range(int First, int Count, IPortDevice Device);

    readonly byte[] _owner = new byte[0x10000];   // 0: nobody; else an index into _ranges
    readonly List<Range> _ranges = [default];

    /// <summary>How often a guest touched a port that nobody answers.</summary>
    public ulong UnclaimedAccesses { get; private set; }

    /// <exception cref="InvalidOperationException">A port of the range is taken, or 255 ranges are.</exception>
    public void Add(int first, int count, IPortDevice device)
    {
        Require.InRange(first, 0, 0xFFFF);
        Require.InRange(first + count - 1, first, 0xFFFF);
        if (_ranges.Count > byte.MaxValue) throw new InvalidOperationException("A machine has at most 255 port ranges.");
        for (int port = first; port < first + count; port++)
        {
            if (_owner[port] != 0) throw new InvalidOperationException($"Port 0x{port:X} is taken already.");
            _owner[port] = (byte)_ranges.Count;
        }
        _ranges.Add(new Range(first, count, device));
    }

    /// <param name="width">1, 2 or 4 bytes.</param>
    public uint Read(ushort port, int width)
    {
        if (Find(port, width) is { } range) return range.Device.Read(port - range.First, width) & Mask(width);
        if (width == 1)
        {
            UnclaimedAccesses++;
            return 0xFF;
        }
        int half = width / 2;   // an access that straddles ranges is two narrower ones
        return Read(port, half) | Read((ushort)(port + half), half) << 8 * half;
    }

    /// <inheritdoc cref="Read"/>
    public void Write(ushort port, int width, uint value)
    {
        if (Find(port, width) is { } range) range.Device.Write(port - range.First, width, value & Mask(width));
        else if (width == 1) UnclaimedAccesses++;
        else
        {
            int half = width / 2;
            Write(port, half, value);
            Write((ushort)(port + half), half, value >> 8 * half);
        }
    }

    Range? Find(ushort port, int width)
    {
        int owner = _owner[port];
        if (owner == 0) return null;
        Range range = _ranges[owner];
        return port + width <= range.First + range.Count ? range : null;
    }

    static uint Mask(int width) => width == 4 ? uint.MaxValue : (1U << 8 * width) - 1;
}
