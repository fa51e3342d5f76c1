using System.Buffers.Binary;
using VmLab.Core;

namespace VmLab.Guests;

/// <summary>The descriptor table and the page tables that a guest starts on, for both boot modes.</summary>
/// <remarks>
/// Identity mapping of the first 4 GiB by 2 MiB pages, writable and executable. Accessed and dirty bits are set
/// beforehand, so that nothing needs to write to the tables. Source: Intel SDM vol. 3A §3.4.5 (segment descriptors),
/// §4.5 (four-level paging).
/// </remarks>
static class EntryTables
{
    /// <summary>Selectors of the flat segments; the last two are what the Linux boot protocol asks for.</summary>
    public const ushort Code32 = 0x08, Code64 = 0x10, Data = 0x18;

    const ulong Code32Descriptor = 0x00CF_9B00_0000_FFFF,
                Code64Descriptor = 0x00AF_9B00_0000_FFFF,
                DataDescriptor = 0x00CF_9300_0000_FFFF;

    const ulong Present = 0x01, Writable = 0x02, Accessed = 0x20, Dirty = 0x40, Large = 0x80;

    const int PageDirectories = 4, EntriesPerTable = 512;

    static readonly ulong[] s_descriptors = [0, Code32Descriptor, Code64Descriptor, DataDescriptor];

    /// <summary>Writes the tables, and returns an entry in the given mode that uses them.</summary>
    public static BootEntry Write(GuestMemory memory, BootMode mode, ulong start)
    {
        memory.Write(BootLayout.Gdt, Bytes(s_descriptors));
        if (mode == BootMode.Long64) WritePageTables(memory);
        return new BootEntry(
            mode, Rip: start, Rsp: BootLayout.StackTop, Rsi: 0, Rbx: 0,
            Cr3: mode == BootMode.Long64 ? BootLayout.PageTables : 0,
            BootLayout.Gdt, (ushort)(8 * s_descriptors.Length - 1),
            mode == BootMode.Long64 ? Code64 : Code32, Data);
    }

    static void WritePageTables(GuestMemory memory)
    {
        const ulong Table = Present | Writable | Accessed;
        ulong pointers = BootLayout.PageTables + 0x1000;
        ulong directories = pointers + 0x1000;

        memory.Write64(BootLayout.PageTables, pointers | Table);
        var entries = new ulong[PageDirectories * EntriesPerTable];
        for (int i = 0; i < PageDirectories; i++)
            memory.Write64(pointers + 8 * (ulong)i, directories + 0x1000 * (ulong)i | Table);
        for (int i = 0; i < entries.Length; i++) entries[i] = (ulong)i << 21 | Table | Dirty | Large;
        memory.Write(directories, Bytes(entries));
    }

    static byte[] Bytes(ReadOnlySpan<ulong> words)
    {
        var bytes = new byte[8 * words.Length];
        for (int i = 0; i < words.Length; i++) BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8 * i), words[i]);
        return bytes;
    }
}
