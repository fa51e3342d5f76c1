using System.Buffers;
using System.Buffers.Binary;
using System.Collections;
using System.Reflection;
using System.Runtime.InteropServices;

namespace VmLab.Core;

/// <summary>Writes records as bytes: field by field in declared order, the pages among them apart.</summary>
/// <remarks>
/// A record may hold what <see cref="StateHash"/> takes, and other records, also by a type above theirs. Equal records give equal
/// bytes. The first record of a type brings name, version and shape of the type along, so that another VmLab can tell.
/// </remarks>
/// <param name="pages">Gets the pages.</param>
/// <param name="earlier">Parts from which others are told; <see langword="null"/> writes all whole.</param>
public sealed class RecordWriter(PageList pages, EarlierParts? earlier = null)
{
    static readonly MethodInfo s_writeImmutable =
        typeof(RecordWriter).GetMethod(nameof(WriteImmutable), BindingFlags.Instance | BindingFlags.NonPublic)!;

    readonly ArrayBufferWriter<byte> _bytes = new();
    readonly Dictionary<Type, int> _types = [];

    public ReadOnlySpan<byte> Bytes => _bytes.WrittenSpan;

    /// <exception cref="LabException">It holds something that is no plain data.</exception>
    public void Write<T>(T value) => Write(typeof(T), value);

    public void WriteNumber(ulong number) => BinaryPrimitives.WriteUInt64LittleEndian(Advance(sizeof(ulong)), number);

    /// <summary>Writes how many items follow.</summary>
    public void WriteCount(int count) => BinaryPrimitives.WriteInt32LittleEndian(Advance(sizeof(int)), count);

    public void WriteBytes(ReadOnlySpan<byte> bytes)
    {
        WriteCount(bytes.Length);
        _bytes.Write(bytes);
    }

    /// <summary>Says that there is no page here.</summary>
    public void WriteNoPage() => WriteCount(-1);

    /// <summary>The part of the earlier moment from which what is written now differs; <see langword="null"/> where there is none.</summary>
    /// <exception cref="LabException">The earlier moment has other parts.</exception>
    public T? Earlier<T>() where T : class => earlier is null ? null : earlier.Next<T>()
        ?? throw new LabException("The moment has other parts than the one that it is to be told from.");

    /// <summary>Writes a page: its bytes go into the list, once for all pages that are equal.</summary>
    public void WritePage(PageSource page) => WriteCount(pages.Add(page));

    void Write(Type type, object? value)
    {
        if (Nullable.GetUnderlyingType(type) is { } inner)
        {
            WriteScalar(value is not null);
            if (value is not null) Write(inner, value);
        }
        else if (type == typeof(string)) WriteText((string?)value);
        else if (type.IsEnum) WriteScalar(Convert.ChangeType(value!, Enum.GetUnderlyingType(type), null));
        else if (type.IsPrimitive || type == typeof(UInt128) || type == typeof(TimeSpan)) WriteScalar(value!);
        else if (type.IsArray) WriteArray(type.GetElementType()!, (Array?)value);
        else if (RecordReader.IsGeneric(type, typeof(IReadOnlyList<>)))
        {
            var list = (ICollection?)value ?? throw new LabException($"A {type} is missing in a moment.");
            var items = Array.CreateInstance(type.GenericTypeArguments[0], list.Count);
            list.CopyTo(items, 0);
            WriteArray(type.GenericTypeArguments[0], items);
        }
        else if (RecordReader.IsGeneric(type, typeof(System.Collections.Immutable.ImmutableArray<>)))
            s_writeImmutable.MakeGenericMethod(type.GenericTypeArguments).Invoke(this, BindingFlags.DoNotWrapExceptions, null, [value], null);
        else WriteRecord(value);
    }

    void WriteImmutable<T>(System.Collections.Immutable.ImmutableArray<T> items) =>
        WriteArray(typeof(T), ImmutableCollectionsMarshal.AsArray(items) ?? []);

    void WriteArray(Type item, Array? items)
    {
        WriteCount(items?.Length ?? 0);
        if (items is null) return;
        if (items is byte[] bytes) _bytes.Write(bytes);
        else foreach (object? value in items) Write(item, value);
    }

    void WriteText(string? text)
    {
        WriteCount(text is null ? -1 : text.Length);
        _bytes.Write(MemoryMarshal.AsBytes(text.AsSpan()));
    }

    void WriteRecord(object? value)
    {
        if (value is null)
        {
            WriteCount(-1);
            return;
        }
        Type type = value.GetType();
        bool isKnown = _types.TryGetValue(type, out int number);
        if (!isKnown) _types[type] = number = _types.Count;
        WriteCount(number);
        bool writesItself = RecordReader.WritesItself(type);
        RecordShape? shape = writesItself ? null : RecordShape.Of(type);
        if (!isKnown)
        {
            WriteText(type.ToString());
            WriteCount(shape?.Version ?? 0);
            WriteNumber(shape?.Digest ?? 0);
        }
        if (shape is null)
            typeof(ISelfWritten<>).MakeGenericType(type).GetMethod(nameof(ISelfWritten<>.Write))!
                .Invoke(value, BindingFlags.DoNotWrapExceptions, null, [this], null);
        else
            foreach (RecordShape.Field field in shape.Fields) Write(field.Info.FieldType, field.Info.GetValue(value));
    }

    void WriteScalar(object value)
    {
        switch (value)
        {
            case bool flag: Advance(1)[0] = flag ? (byte)1 : (byte)0; break;
            case byte number: Advance(1)[0] = number; break;
            case sbyte number: Advance(1)[0] = (byte)number; break;
            case short number: BinaryPrimitives.WriteInt16LittleEndian(Advance(2), number); break;
            case ushort number: BinaryPrimitives.WriteUInt16LittleEndian(Advance(2), number); break;
            case char character: BinaryPrimitives.WriteUInt16LittleEndian(Advance(2), character); break;
            case int number: BinaryPrimitives.WriteInt32LittleEndian(Advance(4), number); break;
            case uint number: BinaryPrimitives.WriteUInt32LittleEndian(Advance(4), number); break;
            case long number: BinaryPrimitives.WriteInt64LittleEndian(Advance(8), number); break;
            case ulong number: WriteNumber(number); break;
            case double number: BinaryPrimitives.WriteDoubleLittleEndian(Advance(8), number); break;
            case TimeSpan time: BinaryPrimitives.WriteInt64LittleEndian(Advance(8), time.Ticks); break;
            case UInt128 number: BinaryPrimitives.WriteUInt128LittleEndian(Advance(16), number); break;
            default: throw new LabException($"A moment with a {value.GetType()} in it cannot be written to a file.");
        }
    }

    Span<byte> Advance(int count)
    {
        Span<byte> bytes = _bytes.GetSpan(count)[..count];
        _bytes.Advance(count);
        return bytes;
    }
}
