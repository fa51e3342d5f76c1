using System.Buffers.Binary;
using System.Text;
using VmLab.Core;

namespace VmLab.Machines.Migrating;

/// <summary>Bodies of the small messages.</summary>
static class MigrationCodec
{
    public static byte[] Number(ulong number)
    {
        byte[] bytes = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, number);
        return bytes;
    }

    public static ulong ReadNumber(ReadOnlyMemory<byte> body) => body.Length == sizeof(ulong)
        ? BinaryPrimitives.ReadUInt64LittleEndian(body.Span)
        : throw new MigrationException($"A number of a migration cannot have {body.Length} bytes.");

    public static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);

    public static string ReadText(ReadOnlyMemory<byte> body) => Encoding.UTF8.GetString(body.Span);

    public static byte[] Record<T>(T record)
    {
        var writer = new RecordWriter(new PageList());
        writer.Write(record);
        return writer.Bytes.ToArray();
    }

    /// <exception cref="LabException">It is none, or of another VmLab.</exception>
    public static T ReadRecord<T>(ReadOnlyMemory<byte> body)
    {
        RecordReader reader = RecordReader.WithoutPages(body);
        var record = reader.Read<T>();
        reader.End();
        return record;
    }
}
