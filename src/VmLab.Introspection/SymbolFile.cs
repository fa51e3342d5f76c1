using System.Buffers.Binary;
using System.Globalization;
using System.IO.Hashing;
using System.Text;

namespace VmLab.Introspection;

/// <summary>An ELF file with nothing but symbols, for a debugger: what a distribution's kernel lacks.</summary>
/// <remarks>
/// Addresses are those that the kernel was linked at, as in a vmlinux; a debugger is told by the machine how far it was moved.
/// Left out are numbers that are no addresses, and per-processor variables. Source: System V ABI, "Object Files"; AMD64 supplement.
/// </remarks>
public static class SymbolFile
{
    const int HeaderSize = 64, ProgramHeaderSize = 56, SectionHeaderSize = 64, SymbolSize = 24;
    const ushort Executable = 2, X8664 = 62, FirstSection = 1;
    const uint Load = 1, SymbolTable = 2, StringTable = 3, NoBits = 8;
    const ulong Writable = 1, Allocated = 2, Code = 4;

    /// <summary>A range of the image that holds code, or data.</summary>
    readonly record struct Section(string Name, ulong Start, ulong End, bool IsCode);

    /// <summary>Writes the file into the user's temporary folder, under a name that follows from its content.</summary>
    /// <returns>Its path.</returns>
    public static string Store(KernelSymbols symbols)
    {
        byte[] file = Write(symbols);
        string path = Path.Combine(Path.GetTempPath(),
            string.Create(CultureInfo.InvariantCulture, $"vmlab-{XxHash3.HashToUInt64(file):x16}.symbols"));
        if (!File.Exists(path))
        {
            string unfinished = $"{path}.{Environment.ProcessId}";
            File.WriteAllBytes(unfinished, file);
            File.Move(unfinished, path, overwrite: true);
        }
        return path;
    }

    /// <summary>The bytes of the file. Modules are placed as far from the kernel as they lie in the guest.</summary>
    public static byte[] Write(KernelSymbols symbols)
    {
        Section[] sections = [.. SectionsOf(symbols)];
        var names = new MemoryStream();
        names.WriteByte(0);
        var entries = new List<byte[]>();
        int locals = 1;
        entries.Add(new byte[SymbolSize]);
        foreach (KernelSymbol symbol in symbols.All.OrderBy(symbol => char.IsUpper(symbol.Type)))   // local ones come first
        {
            int section = Array.FindIndex(sections, section => symbol.Address >= section.Start && symbol.Address <= section.End);
            if (section < 0) continue;
            entries.Add(Entry(symbol, (uint)names.Length, (ushort)(section + FirstSection), symbols.Slide));
            names.Write(Encoding.UTF8.GetBytes(symbol.Name + '\0'));
            if (!char.IsUpper(symbol.Type)) locals++;
        }
        return Assemble(sections, symbols.Slide, [.. entries.SelectMany(entry => entry)], locals, names.ToArray());
    }

    /// <summary>What the kernel's own landmarks say of its image; a section a module behind.</summary>
    static IEnumerable<Section> SectionsOf(KernelSymbols symbols)
    {
        ulong end = symbols.End, at = symbols.Base;
        foreach (var (first, last) in new[] { ("_text", "_etext"), ("_sinittext", "_einittext") })
        {
            if (!symbols.TryFind(first, out ulong start) || !symbols.TryFind(last, out ulong stop) || start < at || stop < start) continue;
            if (start > at) yield return new Section(".data", at, start - 1, IsCode: false);
            yield return new Section(at == symbols.Base ? ".text" : ".init.text", start, stop - 1, IsCode: true);
            at = stop;
        }
        if (at < end) yield return new Section(at == symbols.Base ? ".text" : ".bss", at, end, IsCode: at == symbols.Base);
        foreach (var (name, start, length) in symbols.ModuleParts)
            yield return new Section($".text.{name}", start, start + length - 1, IsCode: true);
    }

    static byte[] Entry(KernelSymbol symbol, uint name, ushort section, ulong slide)
    {
        const byte Global = 1 << 4, Object = 1, Function = 2;
        byte[] entry = new byte[SymbolSize];
        BinaryPrimitives.WriteUInt32LittleEndian(entry, name);
        entry[4] = (byte)((char.IsUpper(symbol.Type) ? Global : 0) | (symbol.Type is 't' or 'T' or 'w' or 'W' ? Function : Object));
        BinaryPrimitives.WriteUInt16LittleEndian(entry.AsSpan(6), section);
        BinaryPrimitives.WriteUInt64LittleEndian(entry.AsSpan(8), symbol.Address - slide);
        return entry;
    }

    static byte[] Assemble(Section[] sections, ulong slide, byte[] symbols, int locals, byte[] names)
    {
        var sectionNames = new StringBuilder("\0.symtab\0.strtab\0");
        const uint SymtabName = 1, StrtabName = 9;
        var file = new MemoryStream();
        var writer = new BinaryWriter(file);
        int headers = HeaderSize + ProgramHeaderSize * sections.Length;
        ulong symbolsAt = (ulong)headers, namesAt = symbolsAt + (ulong)symbols.Length, sectionNamesAt = namesAt + (ulong)names.Length;
        uint[] nameOffsets = [.. sections.Select(section =>
        {
            uint offset = (uint)sectionNames.Length;
            sectionNames.Append(section.Name).Append('\0');
            return offset;
        })];
        byte[] sectionNameBytes = Encoding.ASCII.GetBytes(sectionNames.ToString());

        writer.Write("\u007FELF\u0002\u0001\u0001"u8);
        writer.Write(new byte[9]);
        writer.Write(Executable);
        writer.Write(X8664);
        writer.Write(1);
        writer.Write(sections.Length > 0 ? sections[0].Start - slide : 0);
        writer.Write((ulong)HeaderSize);
        writer.Write(sectionNamesAt + (ulong)sectionNameBytes.Length);
        writer.Write(0);
        foreach (int half in new[] { HeaderSize, ProgramHeaderSize, sections.Length, SectionHeaderSize, sections.Length + 4, sections.Length + 3 })
            writer.Write((ushort)half);
        foreach (Section section in sections)
        {
            const uint ReadWriteExecute = 7;
            writer.Write(Load);
            writer.Write(ReadWriteExecute);
            const ulong PhysicalAddress = 0, SizeInFile = 0, Alignment = 1;   // nothing is to be loaded
            ulong[] range = [(ulong)headers, section.Start - slide, PhysicalAddress, SizeInFile, section.End - section.Start + 1, Alignment];
            foreach (ulong word in range) writer.Write(word);
        }
        writer.Write(symbols);
        writer.Write(names);
        writer.Write(sectionNameBytes);

        WriteSection(writer, 0, 0, 0, 0, 0, 0);
        for (int i = 0; i < sections.Length; i++)
            WriteSection(writer, nameOffsets[i], NoBits, Allocated | (sections[i].IsCode ? Code : Writable), sections[i].Start - slide,
                (ulong)headers, sections[i].End - sections[i].Start + 1);
        uint strings = (uint)sections.Length + 2;
        WriteSection(writer, SymtabName, SymbolTable, 0, 0, symbolsAt, (ulong)symbols.Length, strings, (uint)locals, SymbolSize);
        WriteSection(writer, StrtabName, StringTable, 0, 0, namesAt, (ulong)names.Length);
        WriteSection(writer, StrtabName, StringTable, 0, 0, sectionNamesAt, (ulong)sectionNameBytes.Length);
        return file.ToArray();
    }

    static void WriteSection(
        BinaryWriter writer, uint name, uint type, ulong flags, ulong address, ulong offset, ulong size,
        uint link = 0, uint info = 0, ulong entrySize = 0)
    {
        writer.Write(name);
        writer.Write(type);
        foreach (ulong word in new[] { flags, address, offset, size }) writer.Write(word);
        writer.Write(link);
        writer.Write(info);
        writer.Write(8UL);
        writer.Write(entrySize);
    }
}
