using System.Buffers.Binary;
using K4os.Compression.LZ4;
using VmLab.Core;

namespace VmLab.Machines.Migrating;

/// <summary>Pages of one space, memory or a disk, as they are in a message.</summary>
/// <remarks>Space (0 for memory, then the disks), form, count; the pages' numbers, of which the top bit says that there is nothing in it;
/// the bytes of the others.</remarks>
sealed class PageBatch
{
    public const int MostPages = 16, PageSize = FramePool.FrameSize;

    const int HeaderSize = 4, NumberSize = 4;
    const uint Empty = 1U << 31;
    const byte Raw = 0, Compressed = 1;

    readonly byte[] _body = new byte[HeaderSize + MostPages * (NumberSize + PageSize)];
    byte[] _smaller = [];

    /// <summary>Takes one page: none of its bytes where there is nothing in it.</summary>
    public delegate void Taker(int space, uint page, ReadOnlySpan<byte> bytes);

    /// <summary>Writes a batch, which is good until the next.</summary>
    /// <param name="pages">At most <see cref="MostPages"/>.</param>
    /// <param name="read">The bytes of a page; none where there is nothing in it.</param>
    public ReadOnlyMemory<byte> Write(int space, ReadOnlySpan<uint> pages, Func<uint, ReadOnlySpan<byte>> read, bool compresses)
    {
        int dataFrom = HeaderSize + pages.Length * NumberSize, end = dataFrom;
        BinaryPrimitives.WriteUInt16LittleEndian(_body, (ushort)space);
        (_body[2], _body[3]) = (Raw, (byte)pages.Length);
        for (int i = 0; i < pages.Length; i++)
        {
            ReadOnlySpan<byte> bytes = read(pages[i]);
            BinaryPrimitives.WriteUInt32LittleEndian(_body.AsSpan(HeaderSize + i * NumberSize), pages[i] | (bytes.IsEmpty ? Empty : 0));
            bytes.CopyTo(_body.AsSpan(end));
            end += bytes.Length;
        }
        return compresses && TryCompress(dataFrom, end, out int length) ? _smaller.AsMemory(0, length) : _body.AsMemory(0, end);
    }

    /// <exception cref="MigrationException">It is no such batch.</exception>
    public static void Read(ReadOnlySpan<byte> body, Taker take)
    {
        if (body.Length < HeaderSize || body[3] is 0 or > MostPages || body.Length < HeaderSize + body[3] * NumberSize)
            throw new MigrationException("A batch of pages is cut off.");
        int space = BinaryPrimitives.ReadUInt16LittleEndian(body), count = body[3];
        ReadOnlySpan<byte> numbers = body.Slice(HeaderSize, count * NumberSize), data = body[(HeaderSize + numbers.Length)..];
        int full = 0;
        for (int i = 0; i < count; i++) full += IsEmpty(numbers, i) ? 0 : 1;
        if (body[2] == Compressed) data = Expand(data, full * PageSize);
        else if (body[2] != Raw) throw new MigrationException($"A batch of pages cannot be in form {body[2]}.");
        if (data.Length != full * PageSize) throw new MigrationException($"A batch of {full} pages cannot have {data.Length} bytes.");
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> bytes = IsEmpty(numbers, i) ? [] : data[..PageSize];
            data = data[bytes.Length..];
            take(space, BinaryPrimitives.ReadUInt32LittleEndian(numbers[(i * NumberSize)..]) & ~Empty, bytes);
        }
    }

    static bool IsEmpty(ReadOnlySpan<byte> numbers, int index) =>
        (BinaryPrimitives.ReadUInt32LittleEndian(numbers[(index * NumberSize)..]) & Empty) != 0;

    bool TryCompress(int dataFrom, int end, out int whole)
    {
        if (_smaller.Length == 0) _smaller = new byte[_body.Length];
        int length = LZ4Codec.Encode(_body.AsSpan(dataFrom, end - dataFrom), _smaller.AsSpan(dataFrom));
        whole = dataFrom + length;
        if (length <= 0 || whole >= end) return false;
        _body.AsSpan(0, dataFrom).CopyTo(_smaller);
        _smaller[2] = Compressed;
        return true;
    }

    static byte[] Expand(ReadOnlySpan<byte> data, int size)
    {
        byte[] bytes = new byte[size];
        if (LZ4Codec.Decode(data, bytes) != size) throw new MigrationException("A batch of pages cannot be decompressed.");
        return bytes;
    }
}
