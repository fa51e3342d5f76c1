using System.Runtime.InteropServices;

namespace VmLab.X86;

/// <summary>
/// One linear page: where it may be read, written and executed without asking, and where its bytes lie.
/// </summary>
/// <remarks>
/// A tag is the page's linear address, or an address that belongs in another entry, which no access through this
/// entry can match.
/// So <c>(tag ^ linear) &lt;= 4096 - width</c> is at once a hit and no crossing into the next page.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct TlbEntry
{
    public ulong Read, Write, Execute;

    /// <summary>Host address of the page.</summary>
    public byte* Page;

    /// <summary>Host address of a linear address in the page.</summary>
    public readonly byte* At(ulong linear) => Page + (linear & 0xFFF);
}
