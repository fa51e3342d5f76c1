using System.Buffers.Binary;
using System.Text;
using CsCheck;
using VmLab.Core;
using VmLab.Networks;

namespace VmLab.Tests.Networks;

/// <summary>The host inside a network: ARP, DHCP and names, by the bytes of their RFCs.</summary>
public sealed class NetworkHostTests
{
    static readonly Fleet s_fleet = Fleet.Define("names").Vm("alice", vm => vm).Vm("bob", vm => vm).Vm("carol", vm => vm)
        .Lan("front", out _, [new("alice"), new("bob")])
        .Lan("back", out _, [new("carol"), new("alice")]);

    static readonly Ipv4Address s_server = Ipv4Address.Of(10, 0, 0, 254), s_alice = Ipv4Address.Of(10, 0, 0, 1);

    [Test]
    public void It_says_who_has_its_address()
    {
        byte[] request = [.. Hex("ffffffffffff 525400000001 0806 0001 0800 06 04 0001 525400000001 0a000001 000000000000 0a0000fe"), .. new byte[18]];

        Assert.That(Ask(request)[..42], Is.EqualTo(
            Hex("525400000001 5254000000fe 0806 0001 0800 06 04 0002 5254000000fe 0a0000fe 525400000001 0a000001")));
    }

    [TestCase(1, 2, "10.0.0.1", TestName = "A_discover_is_offered_the_machines_address")]
    [TestCase(3, 5, "10.0.0.1", TestName = "A_request_for_it_is_acknowledged")]
    public void A_machine_gets_its_address(byte asked, byte answered, string address)
    {
        byte[] reply = Payload(Ask(Dhcp(asked, s_alice)), toPort: 68);

        Assert.That(Ipv4Address.Read(reply.AsSpan(16)).ToString(), Is.EqualTo(address));
        Assert.That(reply[4..8], Is.EqualTo(Hex("12345678")));
        Assert.That(reply[236..243], Is.EqualTo((byte[])[0x63, 0x82, 0x53, 0x63, 53, 1, answered]));
        Assert.That(Encoding.Latin1.GetString(reply), Does.Contain("\u000C\u0005alice"));
    }

    [Test]
    public void A_request_for_another_address_is_refused() => Assert.That(
        Payload(Ask(Dhcp(3, Ipv4Address.Of(10, 0, 0, 2))), toPort: 68)[242], Is.EqualTo(6));

    [Test]
    public void A_card_that_is_not_the_machines_gets_none()
    {
        byte[] message = DhcpMessage(1, s_alice);
        message[33] = 0x77;

        Assert.That(Answer(Datagram.Write(message, MacAddress.Broadcast, TestFrames.Card(1), default, Ipv4Address.Broadcast, 68, 67)), Is.Null);
    }

    [TestCase("bob", 1, "c00c 0001 0001 0000003c 0004 0a000002")]
    [TestCase("BOB", 255, "c00c 0001 0001 0000003c 0004 0a000002")]
    [TestCase("carol", 1, "c00c 0001 0001 0000003c 0004 0a000101", Description = "on another network, which alice is on too")]
    [TestCase("2.0.0.10.in-addr.arpa", 12, "c00c 000c 0001 0000003c 0005 03626f6200")]
    [TestCase("bob", 28, "", Description = "known, but not by such an address")]
    public void Names_are_known(string name, int type, string record)
    {
        byte[] question = Question(name, type), answer = Payload(Ask(Dns(question)), toPort: 4000);

        Assert.That(answer, Is.EqualTo((byte[])
            [0xAB, 0xCD, 0x85, 0x80, 0, 1, 0, record.Length == 0 ? (byte)0 : (byte)1, 0, 0, 0, 0, .. question, .. Hex(record)]));
    }

    [TestCase("dave")]
    [TestCase("9.9.9.9.in-addr.arpa")]
    [TestCase("x.in-addr.arpa")]
    public void Other_names_are_not(string name) => Assert.That(Payload(Ask(Dns(Question(name, 1))), toPort: 4000)[3] & 0xF, Is.EqualTo(3));

    [Test]
    public void A_datagram_that_was_damaged_is_not_answered() => Gen.Int[14, Dns(Question("bob", 1)).Length - 1].Sample(at =>
    {
        byte[] frame = Dns(Question("bob", 1));
        frame[at] ^= 0x10;

        Assert.That(Answer(frame), Is.Null);
    }, iter: 200, threads: 1);

    [Test]
    public void Whatever_comes_never_throws() =>
        Gen.Select(Gen.Byte.Array[0, 400], Gen.Bool, Gen.Select(Gen.Int[0, 320], Gen.Byte).Array[0, 6]).Sample((bytes, isName, damage) =>
        {
            byte[] whole = isName ? Question("bob", 1) : DhcpMessage(3, s_alice);
            byte[] header = isName ? Hex("abcd 0100 0001 0000 0000 0000") : [];
            byte[] damaged = [.. header, .. whole];
            foreach (var (at, value) in damage) damaged[at % damaged.Length] = value;
            foreach (byte[] payload in (byte[][])[bytes, damaged])
                Answer(Datagram.Write(payload, TestFrames.Server, TestFrames.Card(1), s_alice, s_server, 4000, isName ? (ushort)53 : (ushort)67));
            if (bytes.Length >= 14) Answer(bytes);
        }, iter: 3000, threads: 1);

    static byte[] Ask(byte[] frame) => Answer(frame) ?? throw new AssertionException("There was no answer.");

    static byte[]? Answer(byte[] frame) =>
        new NetworkHost(s_fleet.Links[0], new FleetNames(s_fleet)).Answer(s_fleet.Links[0].Ports[0], frame) is { } answer
            ? answer.Span.ToArray() : null;

    static byte[] Payload(byte[] frame, int toPort)
    {
        Datagram datagram = Datagram.Read(frame)!.Value;
        Assert.That((datagram.ToPort, datagram.From), Is.EqualTo((toPort, s_server)));
        return frame[datagram.Payload];
    }

    static byte[] Dhcp(byte kind, Ipv4Address wanted) => Datagram.Write(
        DhcpMessage(kind, wanted), MacAddress.Broadcast, TestFrames.Card(1), default, Ipv4Address.Broadcast, 68, 67);

    static byte[] DhcpMessage(byte kind, Ipv4Address wanted)
    {
        byte[] message = new byte[300];
        Hex("01 01 06 00 12345678").CopyTo(message, 0);
        TestFrames.Card(1).Write(message.AsSpan(28));
        Hex("63825363 3501").CopyTo(message, 236);
        (message[242], message[243], message[244], message[249]) = (kind, 50, 4, 255);
        wanted.Write(message.AsSpan(245));
        return message;
    }

    static byte[] Dns(byte[] question) => Datagram.Write(
        [.. Hex("abcd 0100 0001 0000 0000 0000"), .. question], TestFrames.Server, TestFrames.Card(1), s_alice, s_server, 4000, 53);

    static byte[] Question(string name, int type)
    {
        byte[] end = new byte[5];
        BinaryPrimitives.WriteUInt16BigEndian(end.AsSpan(1), (ushort)type);
        end[4] = 1;
        return [.. name.Split('.').SelectMany(label => (byte[])[(byte)label.Length, .. Encoding.ASCII.GetBytes(label)]), .. end];
    }

    static byte[] Hex(string text) => Convert.FromHexString(text.Replace(" ", ""));
}
