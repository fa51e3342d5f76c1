using System.Buffers.Binary;

namespace VmLab.Introspection;

/// <summary>The 256 pieces that kallsyms writes names with, recognised by their own structure.</summary>
/// <remarks>
/// The table holds 256 strings, each ended by a zero; an index of 256 offsets follows at the next multiple of 8. Digits stand for
/// themselves, so a table holds "0" to "9" in a row. Source: Linux 6.1, scripts/kallsyms.c, "optimize_token_table", "write_src".
/// </remarks>
sealed class TokenTable
{
    const int Count = 256, LongestTable = ushort.MaxValue + 1, IndexSize = Count * sizeof(ushort);

    readonly byte[][] _tokens;

    TokenTable(byte[][] tokens, int start, int end)
    {
        _tokens = tokens;
        Start = start;
        End = end;
    }

    /// <summary>What every table holds, and little else in a machine's memory.</summary>
    public static ReadOnlySpan<byte> Digits => "0\01\02\03\04\05\06\07\08\09\0"u8;

    /// <summary>How far before the digits a table can start, and how far behind them its index can end.</summary>
    public static int Reach => LongestTable + IndexSize + 8;

    /// <summary>Where the table starts.</summary>
    public int Start { get; }

    /// <summary>One past the index.</summary>
    public int End { get; }

    public ReadOnlySpan<byte> this[byte code] => _tokens[code];

    /// <param name="memory">Bytes whose first one lies at a multiple of 8.</param>
    /// <param name="digits">Where in them <see cref="Digits"/> was found.</param>
    /// <returns><see langword="null"/>: there is no table around these digits.</returns>
    public static TokenTable? TryParse(ReadOnlySpan<byte> memory, int digits)
    {
        int end = digits;
        for (int token = '0'; token < Count; token++)
        {
            int length = memory[end..Math.Min(memory.Length, digits + LongestTable)].IndexOf((byte)0);
            if (length < 0) return null;
            end += length + 1;
        }
        int index = end + 7 & ~7;
        if (index + IndexSize > memory.Length) return null;
        int start = digits - Offset(memory[index..], '0');
        if (start < 0 || (start & 7) != 0) return null;

        byte[][] tokens = new byte[Count][];
        int at = start;
        for (int token = 0; token < Count; token++)
        {
            if (Offset(memory[index..], token) != at - start) return null;
            int length = memory[at..end].IndexOf((byte)0);
            if (length < 0) return null;
            tokens[token] = memory.Slice(at, length).ToArray();
            at += length + 1;
        }
        return at == end ? new TokenTable(tokens, start, index + IndexSize) : null;
    }

    /// <summary>The same table, its place told from another first byte.</summary>
    public TokenTable MovedTo(int start) => new(_tokens, start, start + End - Start);

    static int Offset(ReadOnlySpan<byte> index, int token) => BinaryPrimitives.ReadUInt16LittleEndian(index[(2 * token)..]);
}
