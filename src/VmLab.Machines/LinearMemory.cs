using System.Buffers.Binary;
using VmLab.Core;
using VmLab.X86;

namespace VmLab.Machines;

/// <summary>A processor's linear address space, looked at from outside between two instructions.</summary>
/// <remarks>
/// A walk marks nothing, raises nothing and asks for no rights: what is mapped to RAM is seen. Devices are not: to read their
/// registers would change them. In PAE mode the four top entries are read from memory, though the processor keeps its own copy.
/// Source: Intel SDM vol. 3A §4.3 (32-bit paging), §4.4 (PAE paging), §4.5 (four-level paging).
/// </remarks>
/// <param name="cr3">Physical address of the top table; the bits of a PCID are ignored.</param>
public sealed class LinearMemory(GuestMemory ram, ulong cr0, ulong cr3, ulong cr4, ulong efer)
{
    const ulong Present = 1, LargePage = 0x80, AddressBits = 0x000F_FFFF_FFFF_F000;

    /// <summary>Physical address of the top table, as CR3 has it.</summary>
    public ulong Tables => cr3;

    /// <summary>Another address space of the same processor.</summary>
    /// <param name="tables">Physical address of its top table.</param>
    public LinearMemory WithTables(ulong tables) => new(ram, cr0, tables, cr4, efer);

    /// <param name="physical">Physical address, in bytes; it need not be RAM.</param>
    /// <returns><see langword="false"/>: the address is not mapped, or not canonical.</returns>
    public bool TryTranslate(ulong linear, out ulong physical)
    {
        physical = linear;
        if ((cr0 & Cr0.Paging) == 0) return true;
        bool isLong = (efer & Efer.LongModeActive) != 0;
        if (isLong ? (ulong)((long)(linear << 16) >> 16) != linear : linear >> 32 != 0) return false;
        return isLong ? TryWalk(cr3 & AddressBits, linear, levels: 4, out physical)
            : (cr4 & Cr4.PhysicalAddressExtension) != 0 ? TryWalk(cr3 & 0xFFFF_FFE0, linear, levels: 3, out physical)
            : TryWalk32(linear, out physical);
    }

    /// <returns>How many bytes, from the first on, could be read.</returns>
    public int Read(ulong linear, Span<byte> bytes)
    {
        int done = 0;
        while (done < bytes.Length && TryLocate(linear + (ulong)done, bytes.Length - done, out ulong physical, out int length))
        {
            ram.Read(physical, bytes.Slice(done, length));
            done += length;
        }
        return done;
    }

    /// <summary>Stores as DMA does: dirty pages, decoded code and translations stay true.</summary>
    /// <returns>How many bytes, from the first on, could be written.</returns>
    public int Write(ulong linear, ReadOnlySpan<byte> bytes)
    {
        int done = 0;
        while (done < bytes.Length && TryLocate(linear + (ulong)done, bytes.Length - done, out ulong physical, out int length))
        {
            ram.Write(physical, bytes.Slice(done, length));
            done += length;
        }
        return done;
    }

    public bool TryRead(ulong linear, Span<byte> bytes) => Read(linear, bytes) == bytes.Length;

    public bool TryRead64(ulong linear, out ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        bool isRead = TryRead(linear, bytes);
        value = isRead ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : 0;
        return isRead;
    }

    public bool TryRead32(ulong linear, out uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        bool isRead = TryRead(linear, bytes);
        value = isRead ? BinaryPrimitives.ReadUInt32LittleEndian(bytes) : 0;
        return isRead;
    }

    /// <summary>Finds the RAM behind an address, up to the end of its page.</summary>
    bool TryLocate(ulong linear, int wanted, out ulong physical, out int length)
    {
        length = Math.Min(wanted, GuestMemory.PageSize - (int)(linear & (GuestMemory.PageSize - 1)));
        return TryTranslate(linear, out physical) && ram.IsRam(physical >> GuestMemory.PageShift);
    }

    bool TryWalk(ulong table, ulong linear, int levels, out ulong physical)
    {
        for (int level = levels; ; level--)
        {
            int shift = 12 + 9 * (level - 1);
            ulong entry = ram.Read64(table + 8 * (linear >> shift & 0x1FF));
            if ((entry & Present) == 0)
            {
                physical = 0;
                return false;
            }
            bool isLast = level == 1 || level == 2 && (entry & LargePage) != 0 || level == 3 && levels == 4 && (entry & LargePage) != 0;
            table = entry & AddressBits;
            if (!isLast) continue;
            ulong inPage = (1UL << shift) - 1;
            physical = table & ~inPage | linear & inPage;
            return true;
        }
    }

    bool TryWalk32(ulong linear, out ulong physical)
    {
        const ulong Table = 0xFFFF_F000, InLargePage = 0x3F_FFFF, LargeBase = 0xFFC0_0000;
        ulong entry = ram.Read32((cr3 & Table) + 4 * (linear >> 22));
        physical = entry & LargeBase | (entry >> 13 & 0xFF) << 32 | linear & InLargePage;   // PSE-36: bits 13 to 20
        if ((entry & Present) == 0) return false;
        if ((entry & LargePage) != 0 && (cr4 & Cr4.PageSizeExtensions) != 0) return true;
        entry = ram.Read32((entry & Table) + 4 * (linear >> 12 & 0x3FF));
        physical = entry & Table | linear & 0xFFF;
        return (entry & Present) != 0;
    }
}
