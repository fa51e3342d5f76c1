using static System.Buffers.Binary.BinaryPrimitives;

namespace VmLab.Introspection;

/// <summary>The kernel's own type information, as far as the places of a structure's members.</summary>
/// <remarks>Source: Linux 6.1, Documentation/bpf/btf.rst, "BTF Type and String Encoding".</remarks>
sealed class Btf
{
    const ushort Magic = 0xEB9F;
    const int HeaderSize = 24, TypeSize = 12, MemberSize = 12, LongestName = 256;
    const int Integer = 1, Array = 3, Structure = 4, Union = 5, Enumeration = 6, Prototype = 13, Variable = 14, DataSection = 15,
        Tag = 17, Enumeration64 = 19;

    readonly byte[] _bytes;
    readonly int _strings;
    readonly List<int> _types = [0];   // by number; 0 is void

    Btf(byte[] bytes, int strings)
    {
        _bytes = bytes;
        _strings = strings;
    }

    /// <param name="Offset">In bytes from the structure's first.</param>
    /// <param name="Type">Number of the member's type.</param>
    public readonly record struct Member(int Offset, int Type);

    /// <returns><see langword="null"/>: the bytes are no type information, or damaged.</returns>
    public static Btf? TryParse(byte[] bytes)
    {
        if (bytes.Length < HeaderSize || ReadUInt16LittleEndian(bytes) != Magic) return null;
        ulong header = ReadUInt32LittleEndian(bytes.AsSpan(4));
        ulong types = header + ReadUInt32LittleEndian(bytes.AsSpan(8)), typesEnd = types + ReadUInt32LittleEndian(bytes.AsSpan(12));
        ulong strings = header + ReadUInt32LittleEndian(bytes.AsSpan(16)), stringsEnd = strings + ReadUInt32LittleEndian(bytes.AsSpan(20));
        if (typesEnd > (ulong)bytes.Length || stringsEnd > (ulong)bytes.Length) return null;

        var parsed = new Btf(bytes, (int)strings);
        ulong at = types;
        while (at + TypeSize <= typesEnd)
        {
            parsed._types.Add((int)at);
            uint info = ReadUInt32LittleEndian(bytes.AsSpan((int)at + 4));
            at += TypeSize + Behind((int)(info >> 24 & 0x1F), info & 0xFFFF);
        }
        return at == typesEnd ? parsed : null;
    }

    /// <returns><see langword="null"/>: there is no such structure, or no such member in it.</returns>
    public Member? Find(string structure, string member)
    {
        if (FindStructure(structure) is not { } at) return null;
        uint info = Word(at + 4);
        for (int i = 0; i < (int)(info & 0xFFFF); i++)
        {
            int entry = at + TypeSize + MemberSize * i;
            if (!IsNamed(Word(entry), member)) continue;
            uint bits = (info >> 31) == 0 ? Word(entry + 8) : Word(entry + 8) & 0xFF_FFFF;   // the rest is a bit field's width
            return new Member((int)(bits / 8), (int)Word(entry + 4));
        }
        return null;
    }

    /// <summary>The size of a structure in bytes.</summary>
    public int? SizeOf(string structure) => FindStructure(structure) is { } at ? (int)Word(at + 8) : null;

    /// <summary>How many elements an array type has.</summary>
    public int? LengthOf(int type) =>
        type > 0 && type < _types.Count && Kind(_types[type]) == Array ? (int)Word(_types[type] + TypeSize + 8) : null;

    static ulong Behind(int kind, uint count) => kind switch
    {
        Integer or Variable or Tag => 4,
        Array => 12,
        Structure or Union or DataSection or Enumeration64 => 12UL * count,
        Enumeration or Prototype => 8UL * count,
        _ => 0,
    };

    int? FindStructure(string name)
    {
        for (int type = 1; type < _types.Count; type++)
            if (Kind(_types[type]) == Structure && IsNamed(Word(_types[type]), name)) return _types[type];
        return null;
    }

    bool IsNamed(uint nameOffset, string name)
    {
        long at = _strings + (long)nameOffset;
        if (at + name.Length >= _bytes.Length || _bytes[at + name.Length] != 0 || name.Length > LongestName) return false;
        for (int i = 0; i < name.Length; i++)
            if (_bytes[at + i] != name[i]) return false;
        return true;
    }

    int Kind(int at) => (int)(Word(at + 4) >> 24 & 0x1F);

    uint Word(int at) => ReadUInt32LittleEndian(_bytes.AsSpan(at));
}
