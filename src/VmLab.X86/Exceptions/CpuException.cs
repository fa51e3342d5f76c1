namespace VmLab.X86;

/// <summary>Exception vectors. Source: Intel SDM vol. 3A table 6-1.</summary>
public static class Vector
{
    public const byte DivideError = 0, Debug = 1, Nmi = 2, Breakpoint = 3, Overflow = 4, BoundRange = 5, InvalidOpcode = 6,
        DeviceNotAvailable = 7, DoubleFault = 8, InvalidTss = 10, SegmentNotPresent = 11, StackFault = 12, GeneralProtection = 13,
        PageFault = 14, FloatingPoint = 16, AlignmentCheck = 17, MachineCheck = 18, SimdFloatingPoint = 19;
}

/// <summary>An exception of the guest: a value, never thrown.</summary>
/// <param name="ErrorCode">What is pushed, or <see langword="null"/> for a vector without error code.</param>
/// <param name="Address">The linear address for CR2; only a page fault has one.</param>
public readonly record struct CpuException(byte Vector, uint? ErrorCode = null, ulong Address = 0)
{
    public static CpuException GeneralProtection(uint errorCode) => new(X86.Vector.GeneralProtection, errorCode);
    public static CpuException NotPresent(uint errorCode) => new(X86.Vector.SegmentNotPresent, errorCode);
    public static CpuException Stack(uint errorCode) => new(X86.Vector.StackFault, errorCode);
    public static CpuException Tss(uint errorCode) => new(X86.Vector.InvalidTss, errorCode);
    public static CpuException Page(ulong linear, PageError error) => new(X86.Vector.PageFault, (uint)error, linear);
    public static readonly CpuException Alignment = new(X86.Vector.AlignmentCheck, 0);
    public static readonly CpuException InvalidOpcode = new(X86.Vector.InvalidOpcode);
    public static readonly CpuException DeviceNotAvailable = new(X86.Vector.DeviceNotAvailable);
}

/// <summary>The error code of a page fault. Source: Intel SDM vol. 3A §4.7.</summary>
[Flags]
public enum PageError : uint
{
    None = 0,
    Present = 1,
    Write = 2,
    User = 4,
    Reserved = 8,
    Fetch = 16,
}
