using CsCheck;
using K4os.Compression.LZ4;
using VmLab.Guests.Compression;

namespace VmLab.Guests.Tests.Compression;

public sealed class UnpackerTests
{
    static readonly byte[] s_text = [.. Enumerable.Range(0, 50_000).Select(i => (byte)(i * i / 100))];

    static readonly Dictionary<string, byte[]> s_packed = new()
    {
        ["gzip"] = TestKernel.Gzip(s_text),
        ["zstd"] = Zstandard(s_text),
        ["lz4"] = Lz4Legacy(s_text, blockSize: 20_000),
        ["lz4 in one block"] = Lz4Legacy(s_text, blockSize: 8 << 20),
    };

    [TestCase("gzip")]
    [TestCase("zstd")]
    [TestCase("lz4")]
    [TestCase("lz4 in one block")]
    public void Packed_bytes_unpack_to_what_they_were(string format) =>
        Assert.That(Unpacker.Unpack(s_packed[format], "the file"), Is.EqualTo(s_text));

    [TestCase("gzip")]
    [TestCase("zstd")]
    [TestCase("lz4")]
    public void Damaged_file_is_refused_with_a_reason(string format) =>
        Damage.Of(s_packed[format]).Sample(file => Damage.IsRefusedAtMost(() => Unpacker.Unpack(file, "the file")));

    [Test]
    public void Unknown_format_is_named() =>
        Assert.That(
            () => Unpacker.Unpack("BZh91AY&SY"u8, "The payload"),
            Refused.Saying("The payload is packed in a format unknown here: it starts with 425A68393141"));

    internal static byte[] Zstandard(byte[] bytes)
    {
        using var compressor = new ZstdSharp.Compressor();
        return compressor.Wrap(bytes).ToArray();
    }

    internal static byte[] Lz4Legacy(byte[] bytes, int blockSize)
    {
        var packed = new List<byte> { 0x02, 0x21, 0x4C, 0x18 };
        foreach (byte[] block in bytes.Chunk(blockSize))
        {
            byte[] target = new byte[LZ4Codec.MaximumOutputSize(block.Length)];
            int length = LZ4Codec.Encode(block, target);
            packed.AddRange(BitConverter.GetBytes(length));
            packed.AddRange(target[..length]);
        }
        return [.. packed];
    }
}
