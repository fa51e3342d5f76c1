using System.Collections;
using System.Collections.Concurrent;
using System.IO.Hashing;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;

namespace VmLab.Core;

/// <summary>
/// Hashes state records canonically: field by field in declared order, never padding, never references.
/// </summary>
/// <remarks>
/// A record may hold primitives, enums, strings, other records, and arrays or immutable arrays of these. A record's
/// schema
/// name and version go in first, so that two shapes never hash alike by chance.
/// </remarks>
public sealed class StateHash
{
    static readonly ConcurrentDictionary<Type, FieldInfo[]> s_fields = new();

    readonly XxHash3 _hash = new();

    public ulong Value => _hash.GetCurrentHashAsUInt64();

    public StateHash Add(ReadOnlySpan<byte> bytes)
    {
        _hash.Append(bytes);
        return this;
    }

    public StateHash Add(ulong value) => Add(MemoryMarshal.AsBytes(new ReadOnlySpan<ulong>(in value)));

    public StateHash Add(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        return Add((ulong)bytes.Length).Add(bytes);
    }

    /// <exception cref="NotSupportedException">The record holds something that is not plain data.</exception>
    public StateHash AddRecord<T>(T record)
        where T : struct
    {
        AddValue(record);
        return this;
    }

    void AddValue(object? value)
    {
        switch (value)
        {
            case null: Add(0); break;
            case bool flag: Add(flag ? 1UL : 0UL); break;
            case byte number: Add((ulong)number); break;
            case sbyte number: Add((ulong)number); break;
            case short number: Add((ulong)number); break;
            case ushort number: Add((ulong)number); break;
            case int number: Add((ulong)number); break;
            case uint number: Add((ulong)number); break;
            case long number: Add((ulong)number); break;
            case ulong number: Add(number); break;
            case UInt128 number: Add((ulong)number).Add((ulong)(number >> 64)); break;
            case double number: Add(BitConverter.DoubleToUInt64Bits(number)); break;
            case Enum number: AddValue(Convert.ChangeType(number, Enum.GetUnderlyingType(number.GetType()), null)); break;
            case string text: Add(text); break;
            case byte[] bytes: Add((ulong)bytes.Length).Add(bytes); break;
            case IList list: AddList(list); break;
            case ValueType record: AddFields(record); break;
            default: throw new NotSupportedException($"{value.GetType()} is no plain data, so it cannot be part of a state.");
        }
    }

    void AddList(IList list)
    {
        Add((ulong)list.Count);
        foreach (object? item in list) AddValue(item);
    }

    void AddFields(ValueType record)
    {
        Type type = record.GetType();
        if (type.GetCustomAttribute<SchemaAttribute>() is { } schema) Add(schema.Name).Add((ulong)schema.Version);
        foreach (FieldInfo field in s_fields.GetOrAdd(type, FieldsOf)) AddValue(field.GetValue(record));
    }

    static FieldInfo[] FieldsOf(Type type) =>
        [.. type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic)
            .OrderBy(field => field.MetadataToken)];
}
