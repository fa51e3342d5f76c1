using System.Buffers.Binary;
using System.Collections;
using System.Collections.Immutable;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace VmLab.Core;

/// <summary>Reads what a <see cref="RecordWriter"/> wrote, and takes nothing for granted: bytes may be anybody's.</summary>
/// <param name="bytes">What was written.</param>
/// <param name="pages">The pages that were put apart.</param>
public sealed class RecordReader(ReadOnlyMemory<byte> bytes, MappedPages? pages) : IDisposable
{
    const int DeepestRecord = 64;

    static readonly MethodInfo s_readSelf = OwnMethod(nameof(ReadSelf)), s_toImmutable = OwnMethod(nameof(ToImmutable));

    readonly List<Type> _types = [];
    EarlierParts? _earlier;
    int _position;
    int _depth;

    /// <summary>Where frames of memory are that is read.</summary>
    public FramePool Pool => pages?.Pool ?? throw Damaged("there are no pages");

    /// <summary>Reads records without pages.</summary>
    public static RecordReader WithoutPages(ReadOnlyMemory<byte> bytes) => new(bytes, null);

    /// <summary>Has pages in a pool, and parts told from those of an earlier moment, from now on.</summary>
    public void Begin(FramePool pool, EarlierParts? earlier)
    {
        pages!.MapInto(pool);
        _earlier = earlier;
    }

    /// <exception cref="LabException">What is there is no such record, or one of another VmLab.</exception>
    public T Read<T>() => (T)Read(typeof(T), mayBeNull: false)!;

    public ulong ReadNumber() => BinaryPrimitives.ReadUInt64LittleEndian(Take(sizeof(ulong)));

    /// <summary>Reads how many items follow, each of which takes a byte at least.</summary>
    public int ReadCount()
    {
        int count = ReadInt32();
        return count >= 0 && count <= bytes.Length - _position ? count : throw Damaged("a count is too large");
    }

    public byte[] ReadBytes() => Take(ReadCount()).ToArray();

    /// <summary>The part of the earlier moment from which what is read now differs; <see langword="null"/> where there is none.</summary>
    public T? Earlier<T>() where T : class => _earlier is null ? null : _earlier.Next<T>() ?? throw Damaged("its parent has other parts");

    /// <summary>Reads a page, and returns its frame, to which the caller adds a reference; the zero frame where there is no page.</summary>
    public uint ReadFrame() => ReadPageNumber() is { } page ? pages!.FrameOf(page) : 0;

    /// <summary>Reads a page, and returns its bytes, equal pages the same array; <see langword="null"/> where there is no page.</summary>
    public byte[]? ReadPage() => ReadPageNumber() is { } page ? pages!.BytesOf(page) : null;

    /// <summary>Says that there is nothing more.</summary>
    /// <exception cref="LabException">There is.</exception>
    public void End()
    {
        if (_position != bytes.Length) throw Damaged("there is something behind its end");
        if (pages is not null && pages.Used != pages.Count) throw Damaged("it has pages that nobody uses");
        if (_earlier is { AreOver: false }) throw Damaged("its parent has more parts");
    }

    /// <summary>Lets go of the file, unless a pool has its pages.</summary>
    public void Dispose() => pages?.Dispose();

    /// <summary>What says that the bytes are not what a writer writes.</summary>
    public LabException Damaged(string how) => new($"It does not hold what a moment holds: {how}, at byte {_position} of its records.");

    internal static bool IsGeneric(Type type, Type definition) => type.IsGenericType && type.GetGenericTypeDefinition() == definition;

    internal static bool WritesItself(Type type) =>
        Array.Exists(type.GetInterfaces(), face => IsGeneric(face, typeof(ISelfWritten<>)) && face.GenericTypeArguments[0] == type);

    // Pages are numbered in the order in which they are first met.
    int? ReadPageNumber()
    {
        int page = ReadInt32();
        if (page == -1) return null;
        return pages is not null && pages.Meet(page) ? page : throw Damaged($"there is no page {page}");
    }

    object? Read(Type type, bool mayBeNull)
    {
        if (Nullable.GetUnderlyingType(type) is { } inner) return ReadFlag() ? Read(inner, mayBeNull: false) : null;
        if (type == typeof(string)) return ReadText() ?? (mayBeNull ? null : throw Damaged("a text is missing"));
        if (type.IsEnum) return ReadEnum(type);
        if (type.IsPrimitive || type == typeof(UInt128) || type == typeof(TimeSpan)) return ReadScalar(type);
        if (type.IsArray) return ReadArray(type.GetElementType()!);
        if (IsGeneric(type, typeof(IReadOnlyList<>))) return ReadArray(type.GenericTypeArguments[0]);
        if (IsGeneric(type, typeof(ImmutableArray<>)))
            return s_toImmutable.MakeGenericMethod(type.GenericTypeArguments).Invoke(null, [ReadArray(type.GenericTypeArguments[0])]);
        return ReadRecord(type, mayBeNull);
    }

    object? ReadRecord(Type declared, bool mayBeNull)
    {
        int number = ReadInt32();
        if (number == -1) return mayBeNull ? null : throw Damaged($"a {declared} is missing");
        if (number == _types.Count) _types.Add(ReadType(declared));
        if (number < 0 || number >= _types.Count) throw Damaged($"there is no type {number}");
        Type type = _types[number];
        if (!declared.IsAssignableFrom(type)) throw Damaged($"a {type} is where a {declared} belongs");
        if (++_depth > DeepestRecord) throw Damaged("records lie too deep in each other");
        object record = WritesItself(type)
            ? s_readSelf.MakeGenericMethod(type).Invoke(this, BindingFlags.DoNotWrapExceptions, null, null, null)!
            : ReadFields(type);
        _depth--;
        return record;
    }

    object ReadFields(Type type)
    {
        object record = RuntimeHelpers.GetUninitializedObject(type);
        foreach (RecordShape.Field field in RecordShape.Of(type).Fields)
            field.Info.SetValue(record, Read(field.Info.FieldType, field.MayBeNull));
        return record;
    }

    /// <summary>Reads which type records of a number have, and holds its shape against the one here.</summary>
    Type ReadType(Type declared)
    {
        string name = ReadText() is { Length: > 0 } text ? text : throw Damaged("a type has no name");
        int version = ReadInt32();
        ulong digest = ReadNumber();
        Type type = declared.ToString() == name ? declared : (IsPlain(name) ? Find(name) : null) ?? throw new LabException(
            $"It holds a {name}, which is unknown here: it was saved by another version of VmLab.");
        if (!RecordShape.IsRecord(type) && !WritesItself(type)) throw Damaged($"a {type} is no record");
        RecordShape? shape = WritesItself(type) ? null : RecordShape.Of(type);
        if (_types.Contains(type)) throw Damaged($"{type} is told twice");
        if (version != (shape?.Version ?? 0))
            throw new LabException($"Its {name} is of version {version}, and here it has version {shape?.Version ?? 0}: "
                + "it was saved by another version of VmLab.");
        if (digest != (shape?.Digest ?? 0))
            throw new LabException($"Its {name} has other fields than here: it was saved by another version of VmLab.");
        return type;
    }

    // Of a generic type, the runtime would look for what the name says of other types, and load assemblies.
    static bool IsPlain(string name) => name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '+' or '_');

    // By name among VmLab's own types alone, and only records: a file cannot make anything else.
    static Type? Find(string name) => AppDomain.CurrentDomain.GetAssemblies()
        .Where(assembly => assembly.GetName().Name is { } own && (own == "VmLab" || own.StartsWith("VmLab.", StringComparison.Ordinal)))
        .Select(assembly => assembly.GetType(name)).FirstOrDefault(type => type is { IsAbstract: false, ContainsGenericParameters: false });

    Array ReadArray(Type item)
    {
        int count = ReadCount();
        if (item == typeof(byte)) return Take(count).ToArray();
        var items = new ArrayList();   // which grows by what is there, not by what the count says
        for (; count > 0; count--) items.Add(Read(item, mayBeNull: false));
        return items.ToArray(item);
    }

    string? ReadText()
    {
        int length = ReadInt32();
        if (length == -1) return null;
        if (length < 0 || length > (bytes.Length - _position) / sizeof(char)) throw Damaged("a text is too long");
        return new string(MemoryMarshal.Cast<byte, char>(Take(length * sizeof(char))));
    }

    object ReadEnum(Type type)
    {
        object value = Enum.ToObject(type, ReadScalar(Enum.GetUnderlyingType(type)));
        bool isKnown = type.IsDefined(typeof(FlagsAttribute)) || Enum.IsDefined(type, value);
        return isKnown ? value : throw Damaged($"there is no {type} {value}");
    }

    bool ReadFlag() => Take(1)[0] is var value and <= 1 ? value == 1 : throw Damaged("a switch is neither on nor off");

    object ReadScalar(Type type) => Type.GetTypeCode(type) switch
    {
        TypeCode.Boolean => ReadFlag(),
        TypeCode.Byte => Take(1)[0],
        TypeCode.SByte => (sbyte)Take(1)[0],
        TypeCode.Int16 => BinaryPrimitives.ReadInt16LittleEndian(Take(2)),
        TypeCode.UInt16 => BinaryPrimitives.ReadUInt16LittleEndian(Take(2)),
        TypeCode.Char => (char)BinaryPrimitives.ReadUInt16LittleEndian(Take(2)),
        TypeCode.Int32 => ReadInt32(),
        TypeCode.UInt32 => BinaryPrimitives.ReadUInt32LittleEndian(Take(4)),
        TypeCode.Int64 => BinaryPrimitives.ReadInt64LittleEndian(Take(8)),
        TypeCode.UInt64 => ReadNumber(),
        TypeCode.Double => BinaryPrimitives.ReadDoubleLittleEndian(Take(8)),
        _ when type == typeof(TimeSpan) => TimeSpan.FromTicks(BinaryPrimitives.ReadInt64LittleEndian(Take(8))),
        _ when type == typeof(UInt128) => BinaryPrimitives.ReadUInt128LittleEndian(Take(16)),
        _ => throw Damaged($"a {type} cannot be read"),
    };

    int ReadInt32() => BinaryPrimitives.ReadInt32LittleEndian(Take(sizeof(int)));

    ReadOnlySpan<byte> Take(int count)
    {
        if (count > bytes.Length - _position) throw Damaged("it ends too early");
        ReadOnlySpan<byte> taken = bytes.Span.Slice(_position, count);
        _position += count;
        return taken;
    }

    T ReadSelf<T>() where T : ISelfWritten<T> => T.Read(this);

    static ImmutableArray<T> ToImmutable<T>(T[] items) => ImmutableCollectionsMarshal.AsImmutableArray(items);

    static MethodInfo OwnMethod(string name) => typeof(RecordReader).GetMethod(
        name, BindingFlags.Instance | BindingFlags.Static | BindingFlags.NonPublic)!;
}
