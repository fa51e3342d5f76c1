using System.Buffers.Binary;
using System.IO.Compression;
using K4os.Compression.LZ4;
using ZstdSharp;

namespace VmLab.Guests.Compression;

/// <summary>Unpacks whole byte arrays in the formats that kernels and Debian packages come in.</summary>
/// <remarks>
/// A truncated gzip file unpacks to what there is of it; the others are refused. Recognised by their magic numbers: LZ4
/// in the legacy format, XZ, Zstandard, gzip. Source: RFC 1952; RFC 8878; lz4, doc/lz4_Frame_format.md, "Legacy frame";
/// for XZ see <see cref="Xz"/>.
/// </remarks>
static class Unpacker
{
    /// <summary>The most that a file may unpack to, in bytes: a bound for damaged and hostile ones.</summary>
    public const int MostBytes = 1 << 30;

    const int Lz4BlockSize = 8 << 20;

    static readonly byte[] s_gzip = [0x1F, 0x8B, 0x08],
                           s_lz4Legacy = [0x02, 0x21, 0x4C, 0x18],
                           s_zstandard = [0x28, 0xB5, 0x2F, 0xFD];

    public static bool IsGzip(ReadOnlySpan<byte> packed) => packed.StartsWith(s_gzip);

    public static bool IsPacked(ReadOnlySpan<byte> bytes) =>
        IsGzip(bytes) || bytes.StartsWith(s_lz4Legacy) || bytes.StartsWith(s_zstandard) || bytes.StartsWith(Xz.Magic);

    /// <param name="name">How messages call the file.</param>
    /// <exception cref="LabException">The format is unknown, or the data is damaged.</exception>
    public static byte[] Unpack(ReadOnlySpan<byte> packed, string name)
    {
        if (!IsPacked(packed))
            throw new LabException(
                $"{name} is packed in a format unknown here: it starts with "
                + $"{Convert.ToHexString(packed[..Math.Min(6, packed.Length)])}. "
                + "LZ4 (legacy), XZ, Zstandard and gzip are known.");
        try
        {
            return IsGzip(packed) ? Gzip(packed)
                : packed.StartsWith(s_lz4Legacy) ? Lz4Legacy(packed[s_lz4Legacy.Length..])
                : packed.StartsWith(s_zstandard) ? Zstandard(packed)
                : Xz.Decode(packed);
        }
        catch (Exception damage) when (damage is not OutOfMemoryException)
        {
            // On damaged data the libraries throw whatever their loops run into; to the user it is all one.
            throw new LabException(
                $"{name} is damaged: it does not unpack ({damage.Message}). Fetch it again.", damage);
        }
    }

    static byte[] Gzip(ReadOnlySpan<byte> packed)
    {
        using var stream = new GZipStream(new MemoryStream(packed.ToArray()), CompressionMode.Decompress);
        return ReadAll(stream);
    }

    static byte[] Zstandard(ReadOnlySpan<byte> packed)
    {
        using var stream = new DecompressionStream(new MemoryStream(packed.ToArray()));
        return ReadAll(stream);
    }

    // Blocks of {32-bit packed size, data}, each of which unpacks to at most 8 MiB.
    static byte[] Lz4Legacy(ReadOnlySpan<byte> packed)
    {
        using var whole = new MemoryStream();
        byte[] block = new byte[Lz4BlockSize];
        while (packed.Length > 0)
        {
            uint size = BinaryPrimitives.ReadUInt32LittleEndian(packed);
            if (size > packed.Length - 4) throw new InvalidDataException("an LZ4 block is truncated");
            int unpacked = LZ4Codec.Decode(packed.Slice(4, (int)size), block);
            if (unpacked < 0) throw new InvalidDataException("an LZ4 block is damaged");
            Append(whole, block.AsSpan(0, unpacked));
            packed = packed[(4 + (int)size)..];
        }
        return whole.ToArray();
    }

    static byte[] ReadAll(Stream stream)
    {
        using var whole = new MemoryStream();
        byte[] block = new byte[1 << 16];
        for (int count; (count = stream.Read(block)) > 0;) Append(whole, block.AsSpan(0, count));
        return whole.ToArray();
    }

    static void Append(MemoryStream whole, ReadOnlySpan<byte> bytes)
    {
        if (whole.Length + bytes.Length > MostBytes)
            throw new InvalidDataException($"it unpacks to more than {new ByteSize(MostBytes)}");
        whole.Write(bytes);
    }
}
