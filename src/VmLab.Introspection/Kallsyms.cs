using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using static System.Buffers.Binary.BinaryPrimitives;

namespace VmLab.Introspection;

/// <summary>The kernel's own symbol tables, read from a stretch of its image.</summary>
/// <remarks>
/// Tables are known by their structure alone; everything in them is hostile until it agrees with the rest. Read are the layouts of
/// Linux 4.20 to 6.3 (offsets, base, count, names, markers, from 6.2 on and in stable 6.1 the order of names, tokens) and of 6.4 and
/// later (count, names, markers, tokens, offsets, base, order of names), on x86-64 with CONFIG_KALLSYMS_BASE_RELATIVE, which is always on there.
/// Source: Linux 6.1 and 6.12, scripts/kallsyms.c, "write_src"; kernel/kallsyms.c, "kallsyms_expand_symbol", "kallsyms_sym_address".
/// </remarks>
sealed class Kallsyms
{
    const int MostSymbols = 1 << 20, MostAttempts = 16, MarkerInterval = 256, LongestName = 1024, LongestEncodedName = 512 + 2;
    const int FewestSymbols = MarkerInterval + 1;   // a single marker is a zero, which is anywhere
    const ulong KernelHalf = 0xFFFF_8000_0000_0000;

    static readonly ByContent<SymbolTable> s_tables = new();

    readonly SymbolTable _table;

    Kallsyms(SymbolTable table, ulong linearBase, int baseAt)
    {
        _table = table;
        Base = linearBase;
        BaseAt = baseAt;
    }

    /// <summary>How much before the tokens, and how much behind them, the tables can take.</summary>
    public const int BytesBefore = 32 << 20, BytesBehind = MostSymbols * 4 + (1 << 17);

    public int Count => _table.Count;

    /// <summary>The symbols in the order of addresses.</summary>
    public KernelSymbol this[int symbol] => new(_table.NameOf(symbol), AddressOf(symbol), _table.TypeOf(symbol));

    /// <summary>The lowest address of the kernel's image.</summary>
    public ulong Base { get; }

    /// <summary>Where in the bytes the base is kept, which the kernel's relocation changes.</summary>
    public int BaseAt { get; }

    public ulong AddressOf(int symbol) => _table.AddressOf(symbol, Base);

    /// <summary>The address of a name; of several of a name the lowest.</summary>
    public bool TryFind(string name, out ulong address)
    {
        bool isFound = _table.TryFind(name, out int symbol);
        address = isFound ? AddressOf(symbol) : 0;
        return isFound;
    }

    /// <param name="memory">Bytes whose first one lies at a multiple of 8.</param>
    /// <returns><see langword="null"/>: there are no whole tables around these tokens.</returns>
    public static Kallsyms? TryParse(ReadOnlySpan<byte> memory, TokenTable tokens)
    {
        // Tokens follow the markers at once, or behind three bytes a symbol that give the order of names.
        int attempts = 0;
        foreach (int orderBytes in (ReadOnlySpan<int>)[0, 3])
        {
            (int, int) tried = default;
            for (int symbols = FewestSymbols; symbols <= MostSymbols && attempts < MostAttempts; symbols++)
            {
                int count = (symbols + MarkerInterval - 1) / MarkerInterval;
                int start = tokens.Start - Aligned(orderBytes * symbols) - Aligned(4 * count);
                if (start < 8) break;
                if ((start, count) == tried || !AreMarkers(memory, start, count)) continue;
                tried = (start, count);
                attempts++;
                if (NamesBefore(memory, start, count) is var (names, number)) return TryParse(memory, tokens, names, number);
            }
        }
        return null;
    }

    static Kallsyms? TryParse(ReadOnlySpan<byte> memory, TokenTable tokens, int names, int count)
    {
        int before = names - 16 - Aligned(4 * count), behind = tokens.End, baseAt = names - 16;
        ReadOnlySpan<int> offsets = Offsets(memory, before, baseAt, count);
        if (offsets.IsEmpty) offsets = Offsets(memory, behind, baseAt = behind + Aligned(4 * count), count);
        if (offsets.IsEmpty) return null;

        string digest = Digest(offsets, memory[names..tokens.End]);
        if (!s_tables.TryFind(digest, out SymbolTable? table))
        {
            if (Expand(memory, names, tokens, offsets) is not { } expanded) return null;
            table = s_tables.Keep(digest, expanded);
        }
        return new Kallsyms(table, ReadUInt64LittleEndian(memory[baseAt..]), baseAt);
    }

    static SymbolTable? Expand(ReadOnlySpan<byte> memory, int at, TokenTable tokens, ReadOnlySpan<int> offsets)
    {
        string[] names = new string[offsets.Length];
        char[] types = new char[offsets.Length];
        Span<byte> name = stackalloc byte[LongestName];
        for (int i = 0; i < names.Length; i++)
        {
            int length = EncodedLength(memory, ref at);
            int expanded = Expand(memory.Slice(at, length), tokens, name);
            if (expanded < 1) return null;
            (types[i], names[i]) = ((char)name[0], Encoding.UTF8.GetString(name[1..expanded]));
            at += length;
        }
        return new SymbolTable(names, types, offsets.ToArray());
    }

    /// <summary>Of all that the kernel's place does not change.</summary>
    static string Digest(ReadOnlySpan<int> offsets, ReadOnlySpan<byte> namesToTokens)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(MemoryMarshal.AsBytes(offsets));
        hash.AppendData(namesToTokens);
        return Convert.ToHexString(hash.GetHashAndReset());
    }

    static int Aligned(int length) => length + 7 & ~7;

    /// <summary>Markers are the offsets of every 256th name: they rise from 0 by the length of 256 names each.</summary>
    static bool AreMarkers(ReadOnlySpan<byte> memory, int start, int count)
    {
        const uint Least = 2 * MarkerInterval, Most = LongestEncodedName * MarkerInterval;
        uint before = ReadUInt32LittleEndian(memory[start..]);
        if (before != 0) return false;
        for (int i = 1; i < count; i++)
        {
            uint marker = ReadUInt32LittleEndian(memory[(start + 4 * i)..]);
            if (marker < before + Least || marker > before + Most) return false;
            before = marker;
        }
        return true;
    }

    /// <summary>
    /// The names end, with padding, where the markers start, and their number lies before them; where they start is tried out
    /// within the length that the names past the last marker can have.
    /// </summary>
    static (int Start, int Count)? NamesBefore(ReadOnlySpan<byte> memory, int markers, int markerCount)
    {
        uint lastMarker = ReadUInt32LittleEndian(memory[(markers + 4 * (markerCount - 1))..]);
        long latest = (markers - (long)lastMarker) & ~7;
        long earliest = Math.Max(8, latest - MarkerInterval * LongestEncodedName - 8);
        for (long names = latest; names >= earliest; names -= 8)
        {
            uint count = ReadUInt32LittleEndian(memory[((int)names - 8)..]), padding = ReadUInt32LittleEndian(memory[((int)names - 4)..]);
            bool isLikely = padding == 0 && count > 0 && (count - 1) / MarkerInterval == (uint)markerCount - 1;
            if (isLikely && AgreesWithMarkers(memory, (int)names, (int)count, markers)) return ((int)names, (int)count);
        }
        return null;
    }

    static bool AgreesWithMarkers(ReadOnlySpan<byte> memory, int names, int count, int markers)
    {
        int at = names;
        for (int i = 0; i < count; i++)
        {
            if (i % MarkerInterval == 0 && ReadUInt32LittleEndian(memory[(markers + 4 * (i / MarkerInterval))..]) != at - names) return false;
            if (at > markers - 2) return false;
            int length = EncodedLength(memory, ref at);
            if (length == 0) return false;
            at += length;
        }
        return Aligned(at) == markers;
    }

    /// <summary>The length of a name in tokens: seven bits, and seven more where the top bit says so.</summary>
    static int EncodedLength(ReadOnlySpan<byte> memory, ref int at)
    {
        int length = memory[at++];
        return (length & 0x80) == 0 ? length : length & 0x7F | memory[at++] << 7;
    }

    /// <returns>The length of the name, its type in front; -1 when it is too long to be one.</returns>
    static int Expand(ReadOnlySpan<byte> encoded, TokenTable tokens, Span<byte> name)
    {
        int length = 0;
        foreach (byte code in encoded)
        {
            ReadOnlySpan<byte> token = tokens[code];
            if (token.Length > name.Length - length) return -1;
            token.CopyTo(name[length..]);
            length += token.Length;
        }
        return length;
    }

    /// <summary>The offsets, if the addresses that they give rise, as the kernel's own lookup asks; otherwise none.</summary>
    static ReadOnlySpan<int> Offsets(ReadOnlySpan<byte> memory, int offsetsAt, int baseAt, int count)
    {
        if (offsetsAt < 0 || baseAt > memory.Length - 8) return [];
        ulong linearBase = ReadUInt64LittleEndian(memory[baseAt..]), before = 0;
        if (linearBase < KernelHalf) return [];

        ReadOnlySpan<int> offsets = MemoryMarshal.Cast<byte, int>(memory.Slice(offsetsAt, 4 * count));
        bool hasAbsolutes = SymbolTable.HasAbsolutes(offsets);
        foreach (int offset in offsets)
        {
            ulong address = SymbolTable.AddressOf(offset, hasAbsolutes, linearBase);
            if (address < before) return [];
            before = address;
        }
        return offsets;
    }
}
