using System.Text;
using static System.Buffers.Binary.BinaryPrimitives;

namespace VmLab.Introspection;

/// <summary>A kernel's own description of its types (BTF): where the members of its structures lie, and what they are.</summary>
/// <remarks>
/// All kinds of Linux 5.2 to 6.18 are read; types of modules, which extend the kernel's, are left out. The bytes are a guest's and
/// hostile: what does not agree with itself is no type information, and no question about the rest throws.
/// Source: Linux 6.12, Documentation/bpf/btf.rst, "BTF Type and String Encoding"; include/uapi/linux/btf.h.
/// </remarks>
public sealed class Btf
{
    const ushort Magic = 0xEB9F;
    const int HeaderSize = 24, TypeSize = 12, MemberSize = 12, EnumeratorSize = 8, Enumerator64Size = 12, LongestName = 512;
    const int MostTypes = 1 << 20, Deepest = 32, MostSearched = 1 << 16;   // far more than any kernel has

    readonly byte[] _bytes;
    readonly int _strings, _stringsEnd;
    readonly List<int> _types = [0];   // places by number; 0 is void
    readonly Lazy<Dictionary<(BtfKind, string), int>> _named;

    Btf(byte[] bytes, int strings, int stringsEnd)
    {
        (_bytes, _strings, _stringsEnd) = (bytes, strings, stringsEnd);
        _named = new(NamedTypes);
    }

    /// <summary>How many types there are, void included.</summary>
    public int Count => _types.Count;

    /// <returns><see langword="null"/>: the bytes are no type information, or damaged.</returns>
    public static Btf? TryParse(byte[] bytes)
    {
        if (bytes.Length < HeaderSize || ReadUInt16LittleEndian(bytes) != Magic) return null;
        ulong header = ReadUInt32LittleEndian(bytes.AsSpan(4));
        ulong types = header + ReadUInt32LittleEndian(bytes.AsSpan(8)), typesEnd = types + ReadUInt32LittleEndian(bytes.AsSpan(12));
        ulong strings = header + ReadUInt32LittleEndian(bytes.AsSpan(16)), stringsEnd = strings + ReadUInt32LittleEndian(bytes.AsSpan(20));
        if (typesEnd > (ulong)bytes.Length || stringsEnd > (ulong)bytes.Length) return null;

        var parsed = new Btf(bytes, (int)strings, (int)stringsEnd);
        ulong at = types;
        while (at + TypeSize <= typesEnd && parsed._types.Count < MostTypes)
        {
            uint info = ReadUInt32LittleEndian(bytes.AsSpan((int)at + 4));
            if (Behind((BtfKind)(info >> 24 & 0x1F), info & 0xFFFF) is not { } behind) return null;
            parsed._types.Add((int)at);
            at += TypeSize + behind;
        }
        return at == typesEnd ? parsed : null;
    }

    /// <summary>The number of a type by its kind and name; of several, the first.</summary>
    public int? Find(BtfKind kind, string name) => _named.Value.TryGetValue((kind, name), out int type) ? type : null;

    /// <summary>A member of a structure or union.</summary>
    /// <param name="structure">Its name, or that of a typedef of it.</param>
    /// <param name="path">
    /// Names joined by dots, through structures that lie in one another; members of an anonymous one count as those of the one
    /// around it. A pointer is not followed.
    /// </param>
    /// <returns>Where it lies in the outermost structure; <see langword="null"/> where there is no such thing.</returns>
    public BtfMember? Find(string structure, string path)
    {
        int? type = Find(BtfKind.Structure, structure) ?? Find(BtfKind.Union, structure) ?? Find(BtfKind.Typedef, structure);
        if (type is null) return null;
        var found = new BtfMember(0, 0, type.Value);
        int searched = 0;
        foreach (string name in path.Split('.'))
        {
            if (Find(found.Type, name, Deepest, ref searched) is not { } member) return null;
            found = member with { BitOffset = found.BitOffset + member.BitOffset };
        }
        return found;
    }

    /// <summary>The members of a structure or union, in order, anonymous ones with an empty name; of another type none.</summary>
    public IEnumerable<(string Name, BtfMember Member)> MembersOf(int type)
    {
        if (KindOf(type = Bare(type)) is not (BtfKind.Structure or BtfKind.Union)) yield break;
        uint info = Word(type, 4);
        for (int i = 0; i < (int)(info & 0xFFFF); i++)
        {
            int entry = TypeSize + MemberSize * i;
            int memberType = (int)Word(type, entry + 4);
            uint place = Word(type, entry + 8);
            bool hasFieldSizes = info >> 31 == 1;   // then the top byte of a place is a bit field's width
            int bits = hasFieldSizes && place >> 24 != 0 ? (int)(place >> 24) : Bits(memberType);
            yield return (Text(Word(type, entry)), new BtfMember((int)(hasFieldSizes ? place & 0xFF_FFFF : place), bits, memberType));
        }
    }

    /// <summary>What a type is; <see cref="BtfKind.Void"/> for a number that no type has.</summary>
    public BtfKind KindOf(int type) => type > 0 && type < _types.Count ? (BtfKind)(Word(type, 4) >> 24 & 0x1F) : BtfKind.Void;

    /// <summary>The name of a type; empty for one without.</summary>
    public string NameOf(int type) => KindOf(type) == BtfKind.Void ? "" : Text(Word(type, 0));

    /// <summary>What a pointer points to, a typedef names, a variable is of, an array's element, a function's result.</summary>
    public int TargetOf(int type) => KindOf(type) switch
    {
        BtfKind.Array => (int)Word(type, TypeSize),
        BtfKind.Pointer or BtfKind.Typedef or BtfKind.Volatile or BtfKind.Constant or BtfKind.Restrict or BtfKind.Function
            or BtfKind.Prototype or BtfKind.Variable or BtfKind.DeclarationTag or BtfKind.TypeTag => (int)Word(type, 8),
        _ => 0,
    };

    /// <summary>The size of a type in bytes; 0 where it has none, as functions and void.</summary>
    public int SizeOf(int type) => SizeOf(type, Deepest);

    /// <summary>How many elements an array type has; <see langword="null"/> where the type is no array.</summary>
    public int? LengthOf(int type) => KindOf(type = Bare(type)) == BtfKind.Array ? (int)Word(type, TypeSize + 8) : null;

    /// <summary>The value of an enumeration's constant; <see langword="null"/> where there is none of that name.</summary>
    public long? ValueOf(string enumeration, string constant)
    {
        int type = Find(BtfKind.Enumeration, enumeration) ?? Find(BtfKind.Enumeration64, enumeration) ?? 0;
        bool isWide = KindOf(type) == BtfKind.Enumeration64;
        uint info = type == 0 ? 0 : Word(type, 4);
        for (int i = 0; i < (int)(info & 0xFFFF); i++)
        {
            int entry = TypeSize + (isWide ? Enumerator64Size : EnumeratorSize) * i;
            if (!IsNamed(Word(type, entry), constant)) continue;
            uint low = Word(type, entry + 4);
            return isWide ? (long)((ulong)Word(type, entry + 8) << 32 | low) : info >> 31 == 1 ? (int)low : low;
        }
        return null;
    }

    static ulong? Behind(BtfKind kind, uint count) => kind switch
    {
        BtfKind.Integer or BtfKind.Variable or BtfKind.DeclarationTag => 4,
        BtfKind.Array => 12,
        BtfKind.Structure or BtfKind.Union => (ulong)MemberSize * count,
        BtfKind.DataSection => 12UL * count,
        BtfKind.Enumeration64 => (ulong)Enumerator64Size * count,
        BtfKind.Enumeration => (ulong)EnumeratorSize * count,
        BtfKind.Prototype => 8UL * count,
        BtfKind.Void or > BtfKind.Enumeration64 => null,
        _ => 0,
    };

    // Structures that claim to hold themselves would be searched for ever.
    BtfMember? Find(int type, string name, int depth, ref int searched)
    {
        foreach (var (found, member) in MembersOf(type))
        {
            if (searched++ > MostSearched) return null;
            bool isAnonymous = found.Length == 0;
            if (found == name && !isAnonymous) return member;
            if (isAnonymous && depth > 0 && Find(member.Type, name, depth - 1, ref searched) is { } inner)
                return inner with { BitOffset = member.BitOffset + inner.BitOffset };
        }
        return null;
    }

    /// <summary>The type behind typedefs and qualifiers; void behind more of them than there can be.</summary>
    int Bare(int type)
    {
        for (int i = 0; i < Deepest; i++)
        {
            if (KindOf(type) is not (BtfKind.Typedef or BtfKind.Volatile or BtfKind.Constant or BtfKind.Restrict or BtfKind.TypeTag)) return type;
            type = TargetOf(type);
        }
        return 0;
    }

    int SizeOf(int type, int depth)
    {
        const int Address = 8;
        return KindOf(type = Bare(type)) switch
        {
            BtfKind.Integer or BtfKind.Float or BtfKind.Structure or BtfKind.Union or BtfKind.Enumeration or BtfKind.Enumeration64
                or BtfKind.DataSection => (int)Word(type, 8),
            BtfKind.Pointer => Address,
            BtfKind.Variable when depth > 0 => SizeOf(TargetOf(type), depth - 1),
            BtfKind.Array when depth > 0 => unchecked((int)Word(type, TypeSize + 8) * SizeOf(TargetOf(type), depth - 1)),
            _ => 0,
        };
    }

    int Bits(int type) => unchecked(8 * SizeOf(type));

    Dictionary<(BtfKind, string), int> NamedTypes()
    {
        var named = new Dictionary<(BtfKind, string), int>();
        for (int type = 1; type < _types.Count; type++)
            if (NameOf(type) is { Length: > 0 } name) named.TryAdd((KindOf(type), name), type);
        return named;
    }

    bool IsNamed(uint nameOffset, string name) => Text(nameOffset) == name;

    string Text(uint offset)
    {
        long at = _strings + (long)offset;
        if (at >= _stringsEnd) return "";
        ReadOnlySpan<byte> rest = _bytes.AsSpan((int)at, (int)Math.Min(_stringsEnd - at, LongestName));
        int length = rest.IndexOf((byte)0);
        return length < 0 ? "" : Encoding.ASCII.GetString(rest[..length]);
    }

    uint Word(int type, int offset) => ReadUInt32LittleEndian(_bytes.AsSpan(_types[type] + offset));
}
