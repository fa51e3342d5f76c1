using System.Text;
using CsCheck;
using VmLab.Machines.Gdb;

namespace VmLab.Machines.Tests.Gdb;

/// <summary>Source: Debugging with GDB, appendix E.1 "Overview".</summary>
public sealed class PacketStreamTests
{
    [Test]
    public void A_packet_is_taken_from_its_frame_and_acknowledged()
    {
        using var wire = Wire.With("m10,20");

        Assert.That(new PacketStream(wire).Read(), Is.EqualTo("m10,20"));
        Assert.That(wire.Sent, Is.EqualTo("+"));
    }

    [Test]
    public void What_is_sent_has_a_checksum_of_two_digits()
    {
        using var wire = new Wire();

        new PacketStream(wire).Send("OK");

        Assert.That(wire.Sent, Is.EqualTo("$OK#9a"));
    }

    [Test]
    public void A_wrong_checksum_is_refused_and_the_next_packet_taken()
    {
        using var wire = new Wire(Encoding.ASCII.GetBytes("$g#00$g#67"));

        Assert.That(new PacketStream(wire).Read(), Is.EqualTo("g"));
        Assert.That(wire.Sent, Is.EqualTo("-+"));
    }

    [Test]
    public void A_refused_packet_is_sent_again()
    {
        using var wire = new Wire(Encoding.ASCII.GetBytes("-$g#67"));
        var packets = new PacketStream(wire);
        packets.Send("OK");

        packets.Read();

        Assert.That(wire.Sent, Is.EqualTo("$OK#9a$OK#9a+"));
    }

    [Test]
    public void Without_acknowledgements_nothing_is_refused_and_nothing_acknowledged()
    {
        using var wire = new Wire(Encoding.ASCII.GetBytes("$g#00"));

        Assert.That(new PacketStream(wire) { Acknowledges = false }.Read(), Is.EqualTo("g"));
        Assert.That(wire.Sent, Is.Empty);
    }

    [Test]
    public void Binary_bytes_come_through_both_ways() => Gen.Byte.Array[0, 200].Sample(bytes =>
    {
        string packet = Encoding.Latin1.GetString(bytes);
        using var there = new Wire();
        new PacketStream(there).Send(packet);
        using var back = new Wire(Encoding.Latin1.GetBytes(there.Sent));
        return new PacketStream(back).Read() == packet;
    }, threads: 1);

    [Test]
    public void The_interrupt_byte_is_a_packet_of_its_own()
    {
        using var wire = new Wire((byte)'+', 3);

        Assert.That(new PacketStream(wire).Read(), Is.EqualTo(PacketStream.Interrupt));
    }

    [Test]
    public void A_packet_longer_than_any_may_be_ends_the_stream()
    {
        using var wire = Wire.With(new string('a', PacketStream.LongestPacket + 1), "g");

        Assert.That(new PacketStream(wire).Read(), Is.Null);
    }

    [Test]
    public void Endless_noise_ends_the_stream()
    {
        using var wire = new Wire(Encoding.ASCII.GetBytes(new string('-', 1 << 20)));

        Assert.That(new PacketStream(wire).Read(), Is.Null);
        Assert.That(wire.Sent, Has.Length.LessThan(100));
    }
}
