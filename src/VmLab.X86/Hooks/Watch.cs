namespace VmLab.X86;

/// <summary>A range of guest memory whose accesses somebody outside wants to see.</summary>
/// <param name="Address">Address of the first byte.</param>
/// <param name="Length">In bytes, at least 1.</param>
/// <param name="IsPhysical">The address is physical, and seen through every mapping; else it is linear, in every
/// address space.</param>
public sealed record Watch(ulong Address, ulong Length, MemoryAccess Access, bool IsPhysical)
{
    /// <summary>Whether some of so many bytes from an address on are in the range.</summary>
    public bool Overlaps(ulong first, ulong length) => first - Address < Length || Address - first < length;
}

/// <summary>An access that a watch saw.</summary>
/// <param name="Linear">Linear address of the access's first byte.</param>
/// <param name="Length">Of the access, in bytes.</param>
/// <param name="Access">What the access was: an instruction that reads and then writes is <see
/// cref="MemoryAccess.Any"/>.</param>
/// <param name="Rip">RIP of the instruction; of an exception's or interrupt's frame, the one that it pushed.</param>
public readonly record struct WatchHit(Watch Watch, ulong Linear, int Length, MemoryAccess Access, ulong Rip);
