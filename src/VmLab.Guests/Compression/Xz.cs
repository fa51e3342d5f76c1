using System.Buffers.Binary;
using System.IO.Hashing;
using System.Security.Cryptography;
using SharpCompress.Compressors.LZMA;

namespace VmLab.Guests.Compression;

/// <summary>Decodes whole .xz files, the x86 branch filter included, and verifies their checks.</summary>
/// <remarks>
/// SharpCompress decodes LZMA2; the container and the branch filter are read here, because its own filter goes wrong at
/// buffer boundaries. Known filters: LZMA2, alone or after x86 BCJ. Checks of other kinds than none, CRC32, CRC64 and
/// SHA-256 are refused. Source: "The .xz File Format" 1.2.1, §2 and §3.
/// </remarks>
static class Xz
{
    const int StreamHeaderSize = 12, StreamFooterSize = 12;
    const ulong FilterLzma2 = 0x21, FilterX86 = 0x04;

    static readonly byte[] s_magic = [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00];

    static readonly ulong[] s_crc64 = [.. Enumerable.Range(0, 256).Select(index => Crc64Entry((ulong)index))];

    public static ReadOnlySpan<byte> Magic => s_magic;

    /// <exception cref="InvalidDataException">The file is damaged, or uses a filter or check unknown here.</exception>
    public static byte[] Decode(ReadOnlySpan<byte> file)
    {
        var blocks = new List<byte[]>();
        var input = new Cursor(file);
        do DecodeStream(ref input, blocks);
        while (!input.IsAtEnd);
        return blocks.Count == 1 ? blocks[0] : Join(blocks);
    }

    static void DecodeStream(ref Cursor input, List<byte[]> blocks)
    {
        ReadOnlySpan<byte> header = input.Take(StreamHeaderSize);
        Require(
            header.StartsWith(s_magic) && Crc32.HashToUInt32(header.Slice(6, 2)) == ReadUInt32(header[8..]),
            "its header is damaged");
        Require(header[6] == 0 && header[7] <= 0x0F, "its header has unknown flags");
        byte check = header[7];
        while (input.Peek() != 0) blocks.Add(DecodeBlock(ref input, check));
        SkipIndex(ref input);
        ReadOnlySpan<byte> footer = input.Take(StreamFooterSize);
        Require(
            footer[10] == 'Y' && footer[11] == 'Z' && footer.Slice(8, 2).SequenceEqual(header.Slice(6, 2)),
            "its footer is damaged");
        while (!input.IsAtEnd && input.Peek() == 0) input.Take(4);      // stream padding
    }

    static byte[] DecodeBlock(ref Cursor input, byte check)
    {
        ReadOnlySpan<byte> header = input.Take((input.Peek() + 1) * 4);
        Require(Crc32.HashToUInt32(header[..^4]) == ReadUInt32(header[^4..]), "a block header is damaged");
        byte flags = header[1];
        Require((flags & 0x3C) == 0, "a block header has unknown flags");
        var fields = new Cursor(header[2..^4]);
        if ((flags & 0x40) != 0) fields.TakeNumber();       // packed size: LZMA2 tells it too
        if ((flags & 0x80) != 0) fields.TakeNumber();       // unpacked size: likewise

        bool isX86 = false;
        int filters = (flags & 3) + 1;
        for (int i = 0; i < filters - 1; i++)
        {
            ulong filter = fields.TakeNumber();
            ReadOnlySpan<byte> offset = fields.Take((int)fields.TakeNumber());
            Require(
                filter == FilterX86 && !isX86 && offset.IndexOfAnyExcept((byte)0) < 0, "it uses a filter unknown here");
            isX86 = true;
        }
        Require(fields.TakeNumber() == FilterLzma2 && fields.TakeNumber() == 1, "it uses a filter unknown here");
        byte dictionary = fields.Take(1)[0];

        int start = input.Position;
        (int packed, int unpacked) = MeasureLzma2(input.Rest);
        byte[] bytes = DecodeLzma2(input.Take(packed), unpacked, dictionary);
        if (isX86) X86BranchFilter.Decode(bytes);
        while ((input.Position - start & 3) != 0) input.Take(1);
        Verify(ref input, check, bytes);
        return bytes;
    }

    // Walks the chunk headers up to the end marker: control byte, unpacked size less one, packed size less one,
    // properties.
    static (int Packed, int Unpacked) MeasureLzma2(ReadOnlySpan<byte> stream)
    {
        var input = new Cursor(stream);
        long unpacked = 0;
        for (byte control; (control = input.Take(1)[0]) != 0;)
        {
            bool isPacked = control >= 0x80;
            Require(isPacked || control <= 2, "a chunk has an unknown kind");
            int size = (input.Take(1)[0] << 8 | input.Take(1)[0]) + 1;
            if (isPacked)
            {
                unpacked += size + ((control & 0x1F) << 16);
                int packedSize = (input.Take(1)[0] << 8 | input.Take(1)[0]) + 1;
                input.Take(packedSize + (control >= 0xC0 ? 1 : 0));
            }
            else
            {
                unpacked += size;
                input.Take(size);
            }
            Require(unpacked <= Unpacker.MostBytes, "it unpacks to too much");
        }
        return (input.Position, (int)unpacked);
    }

    static byte[] DecodeLzma2(ReadOnlySpan<byte> packed, int unpacked, byte dictionary)
    {
        // A dictionary larger than the data is never needed: no hostile file makes us allocate 4 GiB.
        byte needed = 0;
        while (needed < 40 && DictionarySize(needed) < unpacked) needed++;
        using var stream = LzmaStream.Create(
            [Math.Min(dictionary, needed)], new MemoryStream(packed.ToArray()), packed.Length, unpacked, null,
            isLzma2: true, leaveOpen: false);
        byte[] bytes = new byte[unpacked];
        stream.ReadExactly(bytes);
        return bytes;
    }

    static long DictionarySize(byte code) => (long)(2 | code & 1) << (code / 2 + 11);

    static void Verify(ref Cursor input, byte check, ReadOnlySpan<byte> bytes)
    {
        bool isRight = check switch
        {
            0 => true,
            1 => ReadUInt32(input.Take(4)) == Crc32.HashToUInt32(bytes),
            4 => BinaryPrimitives.ReadUInt64LittleEndian(input.Take(8)) == Crc64(bytes),
            10 => input.Take(32).SequenceEqual(SHA256.HashData(bytes)),
            _ => throw new InvalidDataException("it uses a check unknown here"),
        };
        Require(isRight, "the check of a block fails");
    }

    // ECMA-182, reflected: the library's own Crc64 is not.
    static ulong Crc64(ReadOnlySpan<byte> bytes)
    {
        ulong crc = ulong.MaxValue;
        foreach (byte value in bytes) crc = s_crc64[(byte)(crc ^ value)] ^ crc >> 8;
        return ~crc;
    }

    static ulong Crc64Entry(ulong remainder)
    {
        const ulong Polynomial = 0xC96C_5795_D787_0F42;
        for (int bit = 0; bit < 8; bit++) remainder = remainder >> 1 ^ ((remainder & 1) != 0 ? Polynomial : 0);
        return remainder;
    }

    static void SkipIndex(ref Cursor input)
    {
        int start = input.Position;
        input.Take(1);
        ulong records = input.TakeNumber();
        for (ulong i = 0; i < records; i++)
        {
            input.TakeNumber();
            input.TakeNumber();
        }
        while ((input.Position - start & 3) != 0) input.Take(1);
        ReadOnlySpan<byte> index = input.Since(start);
        Require(Crc32.HashToUInt32(index) == ReadUInt32(input.Take(4)), "its index is damaged");
    }

    static byte[] Join(List<byte[]> blocks)
    {
        long length = blocks.Sum(block => (long)block.Length);
        Require(length <= Unpacker.MostBytes, "it unpacks to too much");
        byte[] whole = new byte[length];
        int position = 0;
        foreach (byte[] block in blocks)
        {
            block.CopyTo(whole, position);
            position += block.Length;
        }
        return whole;
    }

    static uint ReadUInt32(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt32LittleEndian(bytes);

    static void Require(bool condition, string otherwise)
    {
        if (!condition) throw new InvalidDataException(otherwise);
    }

    /// <summary>Reads on through bytes, never past their end.</summary>
    ref struct Cursor(ReadOnlySpan<byte> bytes)
    {
        readonly ReadOnlySpan<byte> _bytes = bytes;

        public int Position { get; private set; }

        public readonly bool IsAtEnd => Position == _bytes.Length;

        public readonly ReadOnlySpan<byte> Rest => _bytes[Position..];

        public readonly ReadOnlySpan<byte> Since(int start) => _bytes[start..Position];

        public readonly byte Peek() => IsAtEnd ? throw new InvalidDataException("it is truncated") : _bytes[Position];

        public ReadOnlySpan<byte> Take(int count)
        {
            Require((uint)count <= (uint)(_bytes.Length - Position), "it is truncated");
            Position += count;
            return _bytes.Slice(Position - count, count);
        }

        /// <summary>A number of up to nine bytes of seven bits each, lowest first.</summary>
        public ulong TakeNumber()
        {
            ulong number = 0;
            for (int shift = 0; shift < 63; shift += 7)
            {
                byte next = Take(1)[0];
                number |= (ulong)(next & 0x7F) << shift;
                if (next < 0x80) return number;
            }
            throw new InvalidDataException("a number is too long");
        }
    }
}
