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
/// <remarks>Four-level paging; a disabled MMU maps every address to itself. Each vCPU has its own walker.</remarks>
sealed unsafe class PageWalker(GuestMemory memory, Tlb tlb)
{
    const ulong Present = 1, Writable = 2, UserAccess = 4, Accessed = 0x20, Dirty = 0x40, LargePage = 0x80, NoExecute = 1UL << 63;

    /// <summary>Physical addresses have 40 bits.</summary>
    public const int PhysicalBits = 40;

    const ulong AddressBits = (1UL << PhysicalBits) - 0x1000, ReservedAddressBits = 0x000F_FFFF_FFFF_F000 & ~AddressBits;

    /// <summary>Set while the walker itself marks an entry accessed or dirty, which drops no translation.</summary>
    public bool IsMarking { get; private set; }

    /// <summary>Translates a linear address by walking four levels of page tables.</summary>
    /// <param name="translation">What was found; meaningless when the result is a fault.</param>
    /// <returns>
    /// <see langword="null"/>, or the fault the guest must see: #PF if an entry is absent, has a reserved bit set, or
    /// forbids
    /// <paramref name="access"/>. The address is canonical. The caller loads CR2.
    /// </returns>
    /// <remarks>
    /// A table outside RAM reads as ones. Sets the accessed bit of every entry used, and the dirty bit of the last on
    /// a write.
    /// Source: Intel SDM vol. 3A §4.5 (four-level paging), §4.6 (access rights), §4.7 (page faults), §4.8 (accessed
    /// and dirty flags).
    /// </remarks>
    public CpuException? Walk(CpuState* s, ulong linear, Access access, out Translation translation)
    {
        if ((s->Cr0 & Cr0.Paging) == 0)
        {
            translation = new(linear & ~0xFFFUL & AddressBits, true, true, true, true);
            return null;
        }
        bool noExecuteEnabled = (s->Efer & Efer.NoExecute) != 0;
        ulong rights = Writable | UserAccess, forbidsFetch = 0;
        ulong table = s->Cr3 & AddressBits;
        Span<ulong> path = stackalloc ulong[4];   // by level, less one
        translation = default;
        for (int level = 4; ; level--)
        {
            int shift = 12 + 9 * (level - 1);
            ulong address = table + 8 * (linear >> shift & 0x1FF);
            ulong entry = memory.Read64(address);
            if ((entry & Present) == 0) return Fault(linear, access, PageError.None, s);
            bool isLarge = level is 2 or 3 && (entry & LargePage) != 0;
            if (HasReservedBits(entry, level, isLarge, noExecuteEnabled)) return Fault(linear, access, PageError.Present | PageError.Reserved, s);

            rights &= entry;
            forbidsFetch |= entry & NoExecute;
            bool isLast = level == 1 || isLarge;
            if (isLast && !IsAllowed(s, access, rights, forbidsFetch)) return Fault(linear, access, PageError.Present, s);

            ulong touched = entry | Accessed | (isLast && access.IsWrite ? Dirty : 0);
            if (touched != entry) Mark(address, touched);
            ulong page = address >> 12;
            if (memory.IsRam(page)) tlb.NoteTable(page, level, linear & 0x0000_FFFF_FFFF_FFFF, path[level..].Contains(page));
            path[level - 1] = page;
            if (!isLast)
            {
                table = entry & AddressBits;
                continue;
            }
            ulong offsetMask = (1UL << shift) - 1;
            ulong physical = (entry & AddressBits & ~offsetMask | linear & offsetMask) & ~0xFFFUL;
            translation = new(physical, (rights & Writable) != 0, (rights & UserAccess) != 0, forbidsFetch == 0, (touched & Dirty) != 0);
            return null;
        }
    }

    static bool HasReservedBits(ulong entry, int level, bool isLarge, bool noExecuteEnabled)
    {
        ulong reserved = ReservedAddressBits | (noExecuteEnabled ? 0 : NoExecute);
        if (level == 4) reserved |= LargePage;
        if (isLarge) reserved |= level == 3 ? 0x3FFF_E000UL : 0x1F_E000UL;   // bit 12 is PAT
        return (entry & reserved) != 0;
    }

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
        bool reportsFetch = access.IsFetch && ((s->Efer & Efer.NoExecute) != 0 || (s->Cr4 & Cr4.Smep) != 0);
        return CpuException.Page(linear, error | (access.IsWrite ? PageError.Write : 0) | (access.IsUser ? PageError.User : 0)
            | (reportsFetch ? PageError.Fetch : 0));
    }

    void Mark(ulong address, ulong entry)
    {
        IsMarking = true;
        memory.Write64(address, entry);
        IsMarking = false;
    }
}
