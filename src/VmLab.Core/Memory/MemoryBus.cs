namespace VmLab.Core;

/// <summary>
/// All that answers physical addresses: RAM, and devices by ranges. The rest reads as ones and swallows writes.
/// </summary>
public sealed class MemoryBus(GuestMemory ram)
{
    readonly List<(ulong First, ulong Last, IMmioDevice Device)> _ranges = [];

    public GuestMemory Ram => ram;

    /// <summary>How often a guest touched an address that nobody answers.</summary>
    public ulong UnclaimedAccesses { get; private set; }

    /// <exception cref="InvalidOperationException">The range overlaps another device's.</exception>
    public void Add(ulong first, ulong length, IMmioDevice device)
    {
        ulong last = first + length - 1;
        if (_ranges.Any(range => first <= range.Last && range.First <= last))
            throw new InvalidOperationException($"Addresses 0x{first:X} to 0x{last:X} are taken already.");
        _ranges.Add((first, last, device));
    }

    public void Remove(IMmioDevice device) => _ranges.RemoveAll(range => range.Device == device);

    /// <summary>Reads RAM or a device; the access does not cross a page.</summary>
    /// <param name="width">1, 2, 4 or 8 bytes.</param>
    public ulong Read(ulong address, int width)
    {
        if (ram.IsRam(address >> GuestMemory.PageShift))
        {
            Span<byte> bytes = stackalloc byte[8];
            bytes.Clear();
            ram.Read(address, bytes[..width]);
            return BitConverter.ToUInt64(bytes);
        }
        foreach (var (first, last, device) in _ranges)
            if (address >= first && address + (ulong)width - 1 <= last) return device.Read(address - first, width) & Mask(width);
        UnclaimedAccesses++;
        return Mask(width);
    }

    /// <inheritdoc cref="Read"/>
    public void Write(ulong address, int width, ulong value)
    {
        if (ram.IsRam(address >> GuestMemory.PageShift))
        {
            Span<byte> bytes = stackalloc byte[8];
            BitConverter.TryWriteBytes(bytes, value);
            ram.Write(address, bytes[..width]);
            return;
        }
        foreach (var (first, last, device) in _ranges)
        {
            if (address < first || address + (ulong)width - 1 > last) continue;
            device.Write(address - first, width, value & Mask(width));
            return;
        }
        UnclaimedAccesses++;
    }

    static ulong Mask(int width) => width == 8 ? ulong.MaxValue : (1UL << 8 * width) - 1;
}
