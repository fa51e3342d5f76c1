using System.Runtime.InteropServices;
using VmLab.Core;

namespace VmLab.X86;

/// <summary>Who touches a page, and to do what.</summary>
public readonly record struct Access(bool IsWrite, bool IsFetch, bool IsUser, bool IsOpen)
{
    /// <summary>A user page may be touched by the supervisor although SMAP is on: RFLAGS.AC is set.</summary>
    public bool IsOpen { get; } = IsOpen;
}

/// <summary>What a walk found.</summary>
/// <param name="Physical">Physical address of the page, in bytes.</param>
/// <param name="IsWritable">Every level allows writes.</param>
/// <param name="IsUser">Every level allows user access.</param>
/// <param name="IsExecutable">No level forbids fetches.</param>
/// <param name="IsDirty">The last entry is marked dirty.</param>
public readonly record struct Translation(ulong Physical, bool IsWritable, bool IsUser, bool IsExecutable, bool IsDirty);

/// <summary>Translates linear addresses by walking the guest's page tables.</summary>
/// <remarks>Each vCPU has its own walker.</remarks>
sealed unsafe class PageWalker(GuestMemory memory, Tlb tlb)
{
    const ulong Present = 1, Writable = 2, UserAccess = 4, Accessed = 0x20, Dirty = 0x40, LargePage = 0x80, NoExecute = 1UL << 63;

    /// <summary>Physical addresses have 40 bits.</summary>
    public const int PhysicalBits = 40;

    /// <summary>The bits of an entry, or of CR3, that hold a table's physical address.</summary>
    public const ulong AddressBits = (1UL << PhysicalBits) - 0x1000;

    const ulong BeyondAddress = ~((1UL << PhysicalBits) - 1), Ignored = 0x7FF0_0000_0000_0000;

    /// <summary>Set while the walker itself marks an entry accessed or dirty, which drops no translation.</summary>
    public bool IsMarking { get; private set; }

    /// <summary>Translates a linear address in the paging mode that the control registers select.</summary>
    /// <param name="linear">Canonical, and below 4 GiB outside of IA-32e mode.</param>
    /// <param name="translation">What was found; meaningless when the result is a fault.</param>
    /// <returns>
    /// <see langword="null"/>, or the fault the guest must see: #PF if an entry is absent, has a reserved bit set, or
    /// forbids <paramref name="access"/>. The caller loads CR2.
    /// </returns>
    /// <remarks>
    /// A table outside RAM reads as ones. Sets the accessed bit of every entry used, and the dirty bit of the last on
    /// a write. Source: Intel SDM vol. 3A §4.3 (32-bit paging), §4.4 (PAE paging), §4.5 (four-level paging), §4.6
    /// (access rights), §4.7 (page faults), §4.8 (accessed and dirty flags).
    /// </remarks>
    public CpuException? Walk(CpuState* s, ulong linear, Access access, out Translation translation)
    {
        PagingMode mode = AddressSpace.ModeOf(s->Cr0, s->Cr4, s->Efer);
        translation = new(linear & ~0xFFFUL & AddressBits, true, true, true, true);
        if (mode == PagingMode.None) return null;
        ulong root = mode == PagingMode.Pae ? s->DirectoryPointers[linear >> 30 & 3] : s->Cr3 | Present;
        if ((root & Present) == 0) return Fault(linear, access, PageError.None, s);
        ulong table = root & AddressBits & (mode == PagingMode.TwoLevel ? uint.MaxValue : ulong.MaxValue);
        ulong reserved = ReservedIn(mode, s), rights = Writable | UserAccess, forbidsFetch = 0;
        int indexBits = mode == PagingMode.TwoLevel ? 10 : 9;
        Span<ulong> path = stackalloc ulong[4];   // by level, less one
        for (int level = mode == PagingMode.FourLevel ? 4 : 2; ; level--)
        {
            int shift = 12 + indexBits * (level - 1);
            ulong address = table + ((linear >> shift & (1UL << indexBits) - 1) << 12 - indexBits);
            ulong entry = ReadEntry(address, mode);
            if ((entry & Present) == 0) return Fault(linear, access, PageError.None, s);
            bool isLarge = (entry & LargePage) != 0 && MayBeLarge(level, mode, s);
            if ((entry & (reserved | ReservedAt(level, mode, isLarge))) != 0)
                return Fault(linear, access, PageError.Present | PageError.Reserved, s);

            rights &= entry;
            forbidsFetch |= entry & NoExecute;
            bool isLast = level == 1 || isLarge;
            if (isLast && !IsAllowed(s, access, rights, forbidsFetch)) return Fault(linear, access, PageError.Present, s);

            ulong touched = entry | Accessed | (isLast && access.IsWrite ? Dirty : 0);
            if (touched != entry) Mark(address, touched, mode);
            ulong page = address >> 12;
            if (memory.IsRam(page)) tlb.NoteTable(page, shift, indexBits, linear, path[level..].Contains(page));
            path[level - 1] = page;
            if (!isLast)
            {
                table = entry & AddressBits;
                continue;
            }
            ulong offsetMask = (1UL << shift) - 1;
            ulong start = isLarge && mode == PagingMode.TwoLevel ? WideStart(entry) : entry & AddressBits;
            ulong physical = (start & ~offsetMask | linear & offsetMask) & ~0xFFFUL;
            translation = new(physical, (rights & Writable) != 0, (rights & UserAccess) != 0, forbidsFetch == 0, (touched & Dirty) != 0);
            return null;
        }
    }

    /// <summary>Reads the four directory pointers that PAE paging keeps in registers.</summary>
    /// <param name="root">CR3: a physical address, in bytes, of which 27 bits count.</param>
    /// <returns><see langword="false"/>: one that is present has a reserved bit set, and the guest sees #GP(0).</returns>
    /// <remarks>Source: Intel SDM vol. 3A §4.4.1.</remarks>
    public bool TryReadPointers(ulong root, Span<ulong> pointers)
    {
        memory.Read(root & 0xFFFF_FFE0, MemoryMarshal.AsBytes(pointers));
        return ArePointers(pointers);
    }

    /// <summary>Whether these may be directory pointers: those that are present have no reserved bit set.</summary>
    public static bool ArePointers(ReadOnlySpan<ulong> pointers)
    {
        const ulong Reserved = BeyondAddress | 0x1E6;
        foreach (ulong pointer in pointers)
            if ((pointer & Present) != 0 && (pointer & Reserved) != 0) return false;
        return true;
    }

    // Tables 4-5 and 4-6 (32-bit), 4-9 to 4-11 (PAE), 4-15 to 4-20 (four levels).
    static ulong ReservedIn(PagingMode mode, CpuState* s)
    {
        if (mode == PagingMode.TwoLevel) return 0;
        ulong noExecute = (s->Efer & Efer.NoExecute) == 0 ? NoExecute : 0;
        return noExecute | BeyondAddress & ~NoExecute & (mode == PagingMode.Pae ? ulong.MaxValue : ~Ignored);
    }

    // Bit 12 of a large page's entry is PAT. Behind it stand address bits: of 40, 32-bit paging leaves one unused.
    static ulong ReservedAt(int level, PagingMode mode, bool isLarge) => level switch
    {
        4 => LargePage,
        3 when isLarge => 0x3FFF_E000,
        2 when isLarge => mode == PagingMode.TwoLevel ? 1UL << 21 : 0x1F_E000,
        _ => 0,
    };

    static bool MayBeLarge(int level, PagingMode mode, CpuState* s) =>
        level == 3 || level == 2 && (mode != PagingMode.TwoLevel || (s->Cr4 & Cr4.PageSizeExtensions) != 0);

    /// <summary>PSE-36: a 4 MiB page's entry keeps address bits 32 to 39 in bits 13 to 20.</summary>
    static ulong WideStart(ulong entry) => entry & 0xFFC0_0000 | (entry >> 13 & 0xFF) << 32;

    static bool IsAllowed(CpuState* s, Access access, ulong rights, ulong forbidsFetch)
    {
        bool isUserPage = (rights & UserAccess) != 0;
        if (access.IsFetch && forbidsFetch != 0) return false;
        if (access.IsUser) return isUserPage && (!access.IsWrite || (rights & Writable) != 0);
        if (isUserPage && access.IsFetch && (s->Cr4 & Cr4.Smep) != 0) return false;
        if (isUserPage && !access.IsFetch && (s->Cr4 & Cr4.Smap) != 0 && !access.IsOpen) return false;
        return !access.IsWrite || (rights & Writable) != 0 || (s->Cr0 & Cr0.WriteProtect) == 0;
    }

    static CpuException Fault(ulong linear, Access access, PageError error, CpuState* s)
    {
        bool hasNoExecute = (s->Cr4 & Cr4.PhysicalAddressExtension) != 0 && (s->Efer & Efer.NoExecute) != 0;
        bool reportsFetch = access.IsFetch && (hasNoExecute || (s->Cr4 & Cr4.Smep) != 0);
        return CpuException.Page(linear, error | (access.IsWrite ? PageError.Write : 0) | (access.IsUser ? PageError.User : 0)
            | (reportsFetch ? PageError.Fetch : 0));
    }

    ulong ReadEntry(ulong address, PagingMode mode) =>
        mode == PagingMode.TwoLevel ? memory.Read32(address) : memory.Read64(address);

    void Mark(ulong address, ulong entry, PagingMode mode)
    {
        IsMarking = true;
        if (mode == PagingMode.TwoLevel) memory.Write32(address, (uint)entry);
        else memory.Write64(address, entry);
        IsMarking = false;
    }
}
