namespace VmLab.X86.Oracle;

/// <summary>
/// The user memory that a case runs in, the same on the host as in the guest, below 4 GiB so that 32-bit code has it too.
/// </summary>
/// <remarks>
/// Around code and data nothing is mapped. All data pages can be read and none executed; the code pages can be read and executed.
/// </remarks>
public static class CaseLayout
{
    public const int PageSize = 0x1000;

    /// <summary>Two pages of code.</summary>
    public const ulong Code = 0x2000_0000;
    public const int CodeSize = 2 * PageSize;

    /// <summary>Two pages that can be written, then one that cannot.</summary>
    public const ulong Data = 0x2004_0000, ReadOnlyData = Data + WritableSize;
    public const int WritableSize = 2 * PageSize;

    /// <summary>An address that no mode has and one of 64-bit mode that no processor of 48 bits has.</summary>
    public const ulong Unmapped = 0x2008_0000, NonCanonical = 0x8000_0000_0000;

    /// <summary>What fills the code pages: INT3.</summary>
    public const byte Filler = 0xCC;

    /// <summary>Selectors of Linux' GDT.</summary>
    public const ushort Code32 = 0x23, FlatData = 0x2B, Code64 = 0x33;
}
