using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.IO.Hashing;
using System.Reflection;
using System.Text;

namespace VmLab.Core;

/// <summary>What a record type is made of, as files have it: its fields in order, those of base records first.</summary>
/// <remarks>A file names the shape of each record that it holds, and is refused where the same record has another shape here.</remarks>
sealed class RecordShape
{
    /// <param name="MayBeNull">Whether the type allows <see langword="null"/> there.</param>
    public readonly record struct Field(FieldInfo Info, bool MayBeNull);

    const BindingFlags Own = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    static readonly ConcurrentDictionary<Type, RecordShape> s_shapes = new();

    RecordShape(Type type)
    {
        Name = type.ToString();
        Version = type.GetCustomAttribute<SchemaAttribute>()?.Version ?? 0;
        Fields = [.. FieldsOf(type)];
        string text = string.Join(';', Fields.Select(field => $"{field.Info.Name}:{field.Info.FieldType}"));
        Digest = XxHash3.HashToUInt64(Encoding.UTF8.GetBytes(text));
    }

    public string Name { get; }

    /// <summary>Of its schema; 0 where it has none.</summary>
    public int Version { get; }

    /// <summary>Hash of the names and types of the fields.</summary>
    public ulong Digest { get; }

    public ImmutableArray<Field> Fields { get; }

    /// <exception cref="LabException">It is no plain data.</exception>
    public static RecordShape Of(Type type) => s_shapes.GetOrAdd(type, static type => IsRecord(type)
        ? new RecordShape(type)
        : throw new LabException($"A moment with a {type} in it cannot be written to a file: it is no plain data."));

    /// <summary>Whether a value of this type is its fields: VmLab's own structs and records.</summary>
    public static bool IsRecord(Type type) =>
        type.Assembly.GetName().Name is { } assembly && (assembly == "VmLab" || assembly.StartsWith("VmLab.", StringComparison.Ordinal))
        && !type.IsAbstract && (type.IsValueType || type.GetMethod("<Clone>$") is not null);

    static IEnumerable<Field> FieldsOf(Type type)
    {
        if (type.BaseType is { } parent && parent != typeof(object) && parent != typeof(ValueType))
            foreach (Field field in FieldsOf(parent)) yield return field;
        var nullability = new NullabilityInfoContext();
        foreach (FieldInfo field in type.GetFields(Own).OrderBy(field => field.MetadataToken))
            yield return new Field(field, nullability.Create(field).ReadState != NullabilityState.NotNull);
    }
}
