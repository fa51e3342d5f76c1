using VmLab.Core;

namespace VmLab.Devices;

/// <summary>A range of addresses that a PCI function decodes wherever its base address register says.</summary>
/// <param name="Size">In bytes; a power of two.</param>
public abstract record PciBar(ulong Size);

/// <summary>A range of memory addresses, 16 bytes or more.</summary>
/// <param name="IsWide">Whether the base has 64 bits and takes two registers.</param>
public sealed record PciMemoryBar(ulong Size, IMmioDevice Device, bool IsWide = false, bool IsPrefetchable = false)
    : PciBar(Size);

/// <summary>A range of I/O ports, 4 to 256.</summary>
public sealed record PciPortBar(ulong Size, IPortDevice Device) : PciBar(Size);
