using System.Buffers.Binary;

namespace VmLab.Guests.Acpi;

/// <summary>Writes the body of a table field by field, as specifications list them.</summary>
sealed class TableBody
{
    readonly List<byte> _bytes = [];

    public byte[] ToArray() => [.. _bytes];

    public TableBody Bytes(params ReadOnlySpan<byte> values)
    {
        _bytes.AddRange(values);
        return this;
    }

    public TableBody Word(ushort value) => Bytes((byte)value, (byte)(value >> 8));

    public TableBody Long(ulong value) => Low(value, size: 4);

    public TableBody Quad(ulong value) => Low(value, size: 8);

    TableBody Low(ulong value, int size)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return Bytes(bytes[..size]);
    }
}
