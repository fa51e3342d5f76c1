namespace VmLab;

/// <summary>A breakpoint was met: the instruction there comes next.</summary>
/// <param name="Address">Linear address of the breakpoint.</param>
/// <param name="Time">Lab time of the machine at this instant.</param>
public readonly record struct BreakpointHit(ulong Address, TimeSpan Time);

/// <summary>Watched memory was touched, by the instruction or delivery that is just done.</summary>
/// <param name="Address">Linear address of the access's first byte.</param>
/// <param name="Length">Of the access, in bytes.</param>
/// <param name="Rip">RIP of the instruction that made it; of an exception's or interrupt's frame, the RIP in it.</param>
/// <param name="Time">Lab time of the machine behind it.</param>
public readonly record struct MemoryHit(ulong Address, int Length, MemoryAccess Access, ulong Rip, TimeSpan Time);
