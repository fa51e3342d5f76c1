using System.Text;
using VmLab.Core;
using VmLab.Guests;
using VmLab.Machines;
using static System.Buffers.Binary.BinaryPrimitives;

namespace VmLab.Introspection.Tests;

public sealed class SymbolFileTests
{
    const ulong Base = 0xFFFF_FFFF_9A20_0000;

    static readonly KernelSymbol[] s_symbols =
    [
        new("cpu_number", 0x1_0028, 'A'),
        new("_text", Base, 'T'),
        .. Enumerable.Range(0, 300).Select(i => new KernelSymbol($"f{i}", Base + 0x1000 + 16 * (ulong)i, i % 2 == 0 ? 'T' : 't')),
        new("_etext", Base + 0x10_0000, 'T'),
        new("jiffies_64", Base + 0x15_0000, 'D'),
        new("_sinittext", Base + 0x20_0000, 'T'),
        new("_einittext", Base + 0x21_0000, 'T'),
        new("_end", Base + 0x30_0000, 'B'),
    ];

    [Test]
    public void It_is_an_executable_at_the_addresses_that_the_kernel_was_linked_at()
    {
        ElfImage image = ElfImage.Parse(Written(), "symbols");

        Assert.That(image.Segments.Select(segment => segment.VirtualAddress - KernelSymbols.LinkedBase),
            Is.EqualTo(new ulong[] { 0, 0x10_0000, 0x20_0000, 0x21_0000 }));
    }

    [TestCase("_text", 0UL, 0x12)]
    [TestCase("f0", 0x1000UL, 0x12)]
    [TestCase("f1", 0x1010UL, 0x02)]
    [TestCase("jiffies_64", 0x15_0000UL, 0x11)]
    [TestCase("_end", 0x30_0000UL, 0x11)]
    public void A_symbol_has_its_address_and_kind(string name, ulong address, int info)
    {
        var (symbols, names, _) = Tables(Written());
        int at = Enumerable.Range(0, symbols.Length / 24).Select(i => 24 * i)
            .Single(i => Text(names, ReadInt32LittleEndian(symbols.AsSpan(i))) == name);

        Assert.That((ReadUInt64LittleEndian(symbols.AsSpan(at + 8)) - KernelSymbols.LinkedBase, (int)symbols[at + 4]), Is.EqualTo((address, info)));
    }

    [Test]
    public void Local_symbols_come_first_and_per_processor_ones_are_left_out()
    {
        var (symbols, names, firstGlobal) = Tables(Written());
        int[] globals = [.. Enumerable.Range(0, symbols.Length / 24).Where(i => symbols[24 * i + 4] >> 4 == 1)];

        Assert.That((globals[0], globals.Length), Is.EqualTo((firstGlobal, symbols.Length / 24 - firstGlobal)));
        Assert.That(Encoding.ASCII.GetString(names), Does.Not.Contain("cpu_number"));
    }

    static byte[] Written()
    {
        using var pool = new FramePool(64.MiB);
        using var ram = new GuestMemory(pool, 4.MiB);
        ram.Write(0x10_0000, KallsymsWriter.Write(s_symbols, Base, TableOrder.OffsetsFirst));
        return SymbolFile.Write(KernelSymbols.TryRead(ram, new LinearMemory(ram, 0, 0, 0, 0))!);
    }

    /// <summary>The symbol table, its names, and the number of its first global symbol.</summary>
    static (byte[] Symbols, byte[] Names, int FirstGlobal) Tables(byte[] file)
    {
        int headers = (int)ReadInt64LittleEndian(file.AsSpan(40)), count = ReadUInt16LittleEndian(file.AsSpan(60));
        byte[] Content(int section) => file.AsSpan(
            (int)ReadInt64LittleEndian(file.AsSpan(headers + 64 * section + 24)),
            (int)ReadInt64LittleEndian(file.AsSpan(headers + 64 * section + 32))).ToArray();
        int table = Enumerable.Range(0, count).Single(section => ReadInt32LittleEndian(file.AsSpan(headers + 64 * section + 4)) == 2);
        int link = ReadInt32LittleEndian(file.AsSpan(headers + 64 * table + 40));
        return (Content(table), Content(link), ReadInt32LittleEndian(file.AsSpan(headers + 64 * table + 44)));
    }

    static string Text(byte[] names, int at) => Encoding.ASCII.GetString(names[at..Array.IndexOf(names, (byte)0, at)]);
}
