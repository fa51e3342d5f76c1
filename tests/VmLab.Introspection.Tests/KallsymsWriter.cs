using System.Buffers.Binary;
using System.Text;

namespace VmLab.Introspection.Tests;

/// <summary>In which order a kernel's build lays its symbol tables out.</summary>
public enum TableOrder
{
    /// <summary>Linux 4.20 to 6.1: offsets, base, count, names, markers, tokens.</summary>
    OffsetsFirst,

    /// <summary>Linux 6.2 and stable 6.1: the same, with the order of names before the tokens.</summary>
    OffsetsFirstWithOrder,

    /// <summary>Linux 6.4 and later: count, names, markers, tokens, offsets, base, order of names.</summary>
    OffsetsLast,
}

/// <summary>Writes symbol tables as scripts/kallsyms.c does, but for the choice of tokens.</summary>
static class KallsymsWriter
{
    /// <summary>Tokens that stand for more than one character, in codes that no name here uses.</summary>
    static readonly string[] s_long = ["Tsys_", "do_", "_init", "jiffies"];

    public static byte[] Write(IReadOnlyList<KernelSymbol> symbols, ulong linearBase, TableOrder order)
    {
        var bytes = new List<byte>();
        string[] tokens = [.. Enumerable.Range(0, 256).Select(code =>
            code < s_long.Length ? s_long[code] : code is >= ' ' and < 127 ? $"{(char)code}" : "")];
        byte[] offsets = [.. symbols.SelectMany(symbol => BitConverter.GetBytes(
            symbol.Address >= linearBase ? (int)(-1 - (long)(symbol.Address - linearBase)) : (int)symbol.Address))];
        byte[] names = Names(symbols, tokens, out byte[] markers), orderOfNames = new byte[3 * symbols.Count];

        if (order != TableOrder.OffsetsLast)
        {
            Add(bytes, offsets);
            Add(bytes, BitConverter.GetBytes(linearBase));
        }
        Add(bytes, BitConverter.GetBytes(symbols.Count));
        Add(bytes, names);
        Add(bytes, markers);
        if (order == TableOrder.OffsetsFirstWithOrder) Add(bytes, orderOfNames);
        Add(bytes, [.. tokens.SelectMany(token => Encoding.ASCII.GetBytes(token + '\0'))]);
        Add(bytes, Index(tokens));
        if (order == TableOrder.OffsetsLast)
        {
            Add(bytes, offsets);
            Add(bytes, BitConverter.GetBytes(linearBase));
            Add(bytes, orderOfNames);
        }
        return [.. bytes];
    }

    static byte[] Names(IReadOnlyList<KernelSymbol> symbols, string[] tokens, out byte[] markers)
    {
        var names = new List<byte>();
        var offsets = new List<byte>();
        for (int i = 0; i < symbols.Count; i++)
        {
            if (i % 256 == 0) offsets.AddRange(BitConverter.GetBytes(names.Count));
            byte[] encoded = Encode(symbols[i].Type + symbols[i].Name, tokens);
            if (encoded.Length >= 0x80) names.AddRange([(byte)(encoded.Length & 0x7F | 0x80), (byte)(encoded.Length >> 7)]);
            else names.Add((byte)encoded.Length);
            names.AddRange(encoded);
        }
        markers = [.. offsets];
        return [.. names];
    }

    static byte[] Encode(string name, string[] tokens)
    {
        var codes = new List<byte>();
        while (name.Length > 0)
        {
            int code = Array.FindIndex(s_long, name.StartsWith);
            if (code < 0) code = name[0];
            codes.Add((byte)code);
            name = name[tokens[code].Length..];
        }
        return [.. codes];
    }

    static byte[] Index(string[] tokens)
    {
        byte[] index = new byte[512];
        for (int token = 0, at = 0; token < tokens.Length; at += tokens[token++].Length + 1)
            BinaryPrimitives.WriteUInt16LittleEndian(index.AsSpan(2 * token), (ushort)at);
        return index;
    }

    static void Add(List<byte> bytes, byte[] table)
    {
        bytes.AddRange(table);
        while (bytes.Count % 8 != 0) bytes.Add(0);
    }
}
