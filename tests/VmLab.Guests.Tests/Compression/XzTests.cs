using CsCheck;
using VmLab.Guests.Compression;

namespace VmLab.Guests.Tests.Compression;

public sealed class XzTests
{
    [TestCase("x86.crc32.xz", TestName = "The x86 branch filter is undone")]
    [TestCase("blocks.crc64.xz", TestName = "Several blocks are joined")]
    [TestCase("plain.sha256.xz", TestName = "A plain file is decoded")]
    public void File_that_xz_wrote_decodes_to_what_it_packed(string fixture) =>
        Assert.That(Xz.Decode(Fixture.Bytes(fixture)), Is.EqualTo(Fixture.Bytes("code.bin")));

    [Test]
    public void Streams_one_after_the_other_with_padding_are_joined()
    {
        byte[] one = Fixture.Bytes("plain.sha256.xz"), code = Fixture.Bytes("code.bin");

        byte[] both = Xz.Decode([.. one, 0, 0, 0, 0, .. one]);

        Assert.That(both, Is.EqualTo((byte[])[.. code, .. code]));
    }

    [TestCase("x86.crc32.xz")]
    [TestCase("blocks.crc64.xz")]
    [TestCase("plain.sha256.xz")]
    public void Check_finds_a_changed_byte_wherever_it_is(string fixture)
    {
        byte[] whole = Fixture.Bytes(fixture), code = Fixture.Bytes("code.bin");

        Gen.Int[0, whole.Length - 1].Sample(position =>
        {
            byte[] changed = [.. whole];
            changed[position] ^= 0x10;
            byte[]? decoded = null;
            Damage.IsRefusedAtMost(() => decoded = Unpacker.Unpack(changed, "the file"));
            return decoded is null || decoded.AsSpan().SequenceEqual(code);
        });
    }

    [TestCase("x86.crc32.xz")]
    [TestCase("blocks.crc64.xz")]
    public void Damaged_file_is_refused_with_a_reason(string fixture) =>
        Damage.Of(Fixture.Bytes(fixture)).Sample(
            file => Damage.IsRefusedAtMost(() => Unpacker.Unpack(file, "the file")));

    [Test]
    public void Truncated_file_says_so() =>
        Assert.That(
            () => Unpacker.Unpack(Fixture.Bytes("plain.sha256.xz").AsSpan(..^20), "The kernel"),
            Refused.Saying("The kernel is damaged"));
}
