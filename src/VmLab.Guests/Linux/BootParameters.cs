using System.Buffers.Binary;
using VmLab.Core;

namespace VmLab.Guests.Linux;

/// <summary>The page through which a boot loader speaks to Linux: boot_params, the "zero page".</summary>
/// <remarks>Source: Linux, Documentation/x86/zero-page.rst and boot.rst;
/// arch/x86/include/uapi/asm/bootparam.h.</remarks>
sealed class BootParameters
{
    /// <summary>How firmware calls a range of addresses.</summary>
    public enum RangeKind : uint { Usable = 1, Reserved = 2, AcpiTables = 3, AcpiStorage = 4 }

    const int Size = 4096, MostRanges = 128, RangeSize = 20, SeedSize = 32;
    const uint RngSeed = 9;
    const byte UnregisteredLoader = 0xFF, LoadedAtRandom = 0x02;       // type of loader; KASLR_FLAG

    // Offsets in the page, by the names of zero-page.rst.
    const int AcpiRsdpAddress = 0x070, RangeCount = 0x1E8, BootFlag = 0x1FE, Magic = 0x202, Version = 0x206,
              LoaderType = 0x210, LoadFlags = 0x211, InitrdAddress = 0x218, InitrdSize = 0x21C,
              CommandLinePointer = 0x228, SetupDataPointer = 0x250, Ranges = 0x2D0;

    readonly byte[] _page = new byte[Size];

    /// <param name="header">The setup header of a bzImage; empty for a bare vmlinux, which has none.</param>
    public BootParameters(ReadOnlySpan<byte> header)
    {
        if (header.IsEmpty)
        {
            Word(BootFlag, 0xAA55);
            "HdrS"u8.CopyTo(_page.AsSpan(Magic));
            Word(Version, 0x20F);
            _page[LoadFlags] = 1;
        }
        else header.CopyTo(_page.AsSpan(BzImage.HeaderStart));
        _page[LoaderType] = UnregisteredLoader;
    }

    public void SetAcpiRoot(ulong address) =>
        BinaryPrimitives.WriteUInt64LittleEndian(_page.AsSpan(AcpiRsdpAddress), address);

    public void SetInitrd(ulong address, int size)
    {
        Long(InitrdAddress, (uint)address);
        Long(InitrdSize, (uint)size);
    }

    /// <summary>Says that the kernel's address was drawn at random: then it draws others itself.</summary>
    public void SetRandomised() => _page[LoadFlags] |= LoadedAtRandom;

    public void SetCommandLine(ulong address) => Long(CommandLinePointer, (uint)address);

    /// <summary>Tells the kernel a range of addresses (an e820 entry); ranges come lowest first.</summary>
    public void AddRange(ulong start, ulong length, RangeKind kind)
    {
        if (length == 0) return;
        int count = _page[RangeCount];
        if (count == MostRanges) throw new LabException($"The memory map has more than {MostRanges} ranges.");
        Span<byte> entry = _page.AsSpan(Ranges + count * RangeSize);
        BinaryPrimitives.WriteUInt64LittleEndian(entry, start);
        BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], length);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[16..], (uint)kind);
        _page[RangeCount]++;
    }

    /// <summary>Seeds the kernel's random number generator from the lab's seed, through a setup_data entry.</summary>
    public void WriteSeed(GuestMemory memory, ulong address, Rng random)
    {
        Span<byte> entry = stackalloc byte[16 + SeedSize];      // next entry (none), type, length, data
        BinaryPrimitives.WriteUInt64LittleEndian(entry, 0);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[8..], RngSeed);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[12..], SeedSize);
        for (int i = 16; i < entry.Length; i += 8) BinaryPrimitives.WriteUInt64LittleEndian(entry[i..], random.Next());
        memory.Write(address, entry);
        BinaryPrimitives.WriteUInt64LittleEndian(_page.AsSpan(SetupDataPointer), address);
    }

    public void Write(GuestMemory memory, ulong address) => memory.Write(address, _page);

    void Word(int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(_page.AsSpan(offset), value);

    void Long(int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_page.AsSpan(offset), value);
}
