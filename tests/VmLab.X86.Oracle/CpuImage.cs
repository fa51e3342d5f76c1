using System.Runtime.InteropServices;

namespace VmLab.X86.Oracle;

/// <summary>Where a case ended, beside the vector of an exception.</summary>
public static class Ending
{
    /// <summary>A system call reached the kernel.</summary>
    public const ulong SystemCall = 0x100;

    /// <summary>Neither an exception nor a system call within the counts that a case is given.</summary>
    public const ulong Lost = 0x101;
}

/// <summary>What one instruction finds and leaves: all of a user program's registers, its code, and its writable memory.</summary>
/// <remarks>The host's child process reads and writes it at the offsets given here.</remarks>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct CpuImage
{
    public const int GprOffset = 0, RipOffset = 128, FlagsOffset = 136, VectorOffset = 144, ErrorOffset = 152, AddressOffset = 160,
        SignalOffset = 168, SelectorsOffset = 176, FsBaseOffset = 192, GsBaseOffset = 200, CodeAddressOffset = 208, CodeOffset = 224,
        ExtendedOffset = 256, MemoryOffset = 768, Size = MemoryOffset + CaseLayout.WritableSize;

    /// <summary>Bytes of code that a case brings; the rest of the code pages is filler.</summary>
    public const int CodeLength = 32;

    /// <summary>The part of an FXSAVE image that the processor owns.</summary>
    public const int ExtendedLength = 416;

    public fixed ulong Gpr[16];
    public ulong Rip, Flags;

    /// <summary>Out only: the exception's vector, or one of <see cref="Ending"/>; its error code, and CR2 of a page fault.</summary>
    public ulong Vector, Error, Address;

    /// <summary>Out only, from the host: the number of the signal that ended the case.</summary>
    public ulong Signal;

    /// <summary>In the order of <see cref="Segment"/>.</summary>
    public fixed ushort Selectors[8];
    public ulong FsBase, GsBase;

    /// <summary>Where <see cref="Code"/> is put.</summary>
    public ulong CodeAddress;
    readonly ulong _padding;
    public fixed byte Code[CodeLength];

    /// <summary>x87, MMX, SSE and MXCSR as FXSAVE64 stores them.</summary>
    public fixed byte Extended[512];

    public fixed byte Memory[CaseLayout.WritableSize];
}
