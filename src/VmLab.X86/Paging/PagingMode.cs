namespace VmLab.X86;

/// <summary>How linear addresses are translated. Source: Intel SDM vol. 3A §4.1.1.</summary>
enum PagingMode
{
    /// <summary>Every linear address is the physical one.</summary>
    None,

    /// <summary>Two levels of 4-byte entries: the manual's "32-bit paging". Pages of 4 KiB and 4 MiB.</summary>
    TwoLevel,

    /// <summary>
    /// Four directory pointers in registers, then two levels of 8-byte entries. Pages of 4 KiB and 2 MiB.
    /// </summary>
    Pae,

    /// <summary>Four levels of 8-byte entries. Pages of 4 KiB, 2 MiB and 1 GiB.</summary>
    FourLevel,
}

/// <summary>All that translations depend on, but for memory, the privilege level and RFLAGS.AC.</summary>
/// <param name="Controls">The bits of CR0, CR4 and EFER that choose the mode and bend the rights.</param>
/// <param name="Root">Physical address of the root table, in bytes; 0 without paging.</param>
/// <param name="Pointers">The directory pointers of PAE paging; all 0 in other modes.</param>
readonly unsafe record struct AddressSpace(
    ulong Controls, ulong Root, (ulong, ulong, ulong, ulong) Pointers)
{
    // No bit is at the same place in two of the registers.
    const ulong OfCr0 = Cr0.Paging | Cr0.WriteProtect;
    const ulong OfCr4 = Cr4.PageSizeExtensions | Cr4.PhysicalAddressExtension | Cr4.Smep | Cr4.Smap;
    const ulong OfEfer = Efer.LongModeActive | Efer.NoExecute;

    public static AddressSpace Of(CpuState* s)
    {
        ulong controls = s->Cr0 & OfCr0 | s->Cr4 & OfCr4 | s->Efer & OfEfer;
        ulong* pointers = s->DirectoryPointers;
        return ModeOf(s->Cr0, s->Cr4, s->Efer) switch
        {
            PagingMode.None => new(controls, 0, default),
            PagingMode.Pae => new(controls, 0, (pointers[0], pointers[1], pointers[2], pointers[3])),
            _ => new(controls, s->Cr3 & PageWalker.AddressBits, default),
        };
    }

    public static PagingMode ModeOf(ulong cr0, ulong cr4, ulong efer) =>
        (cr0 & Cr0.Paging) == 0 ? PagingMode.None
        : (cr4 & Cr4.PhysicalAddressExtension) == 0 ? PagingMode.TwoLevel
        : (efer & Efer.LongModeActive) == 0 ? PagingMode.Pae
        : PagingMode.FourLevel;
}
