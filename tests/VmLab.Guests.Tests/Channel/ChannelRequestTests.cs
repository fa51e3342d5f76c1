using VmLab.Guests.Channel;

namespace VmLab.Guests.Tests.Channel;

public sealed class ChannelRequestTests
{
    [Test]
    public void Command_lies_between_flags_with_its_checksum() =>
        Assert.That(
            Convert.ToHexString(ChannelRequest.Run(7, "true")),
            Is.EqualTo("7E" + "02000000" + "07000000" + "00000000" + "74727565" + "28143BC3" + "7E"));

    [Test]
    public void Flags_and_escapes_within_are_escaped() =>
        Assert.That(
            Convert.ToHexString(ChannelFrame.Encode(ChannelKind.Data, 0x7E, 0, [0x7D])),
            Does.StartWith("7E" + "04000000" + "7D5E000000" + "00000000" + "7D5D"));

    [Test]
    public void Empty_command_is_refused() =>
        Assert.That(() => ChannelRequest.Run(1, ""), Refused.Saying("empty"));

    [Test]
    public void Zero_character_is_refused() =>
        Assert.That(
            () => ChannelRequest.Get(1, "/a\0b"),
            Refused.Saying("zero character"));

    [Test]
    public void Command_that_is_too_long_is_refused_with_the_way_out() =>
        Assert.That(
            () => ChannelRequest.Run(1, new string('x', 20_000)),
            Refused.Saying("20,000 bytes, and 16,383 is the most", "file"));

    [Test]
    public void Longest_command_is_taken() =>
        Assert.That(() => ChannelRequest.Run(1, new string('x', ChannelRequest.LongestText)), Throws.Nothing);
}
