using System.Buffers.Binary;
using VmLab.Devices.Virtio;
using VmLab.Machines;
using VmLab.Testing;

namespace VmLab.Tests.Debian;

/// <summary>Virtio devices as Debian's own drivers see them: a network card with a peer made of frames, and the small
/// ones.</summary>
public sealed class NicTests
{
    const int Arp = 0x0806, Ip = 0x0800, IpHeader = 14, Icmp = 34, Udp = 34;
    const byte IcmpProtocol = 1, UdpProtocol = 17, Request = 1, Reply = 2;

    static readonly MacAddress s_guest = new(0x5254_0000_0001), s_peer = new(0x5254_0000_0002);

    [Test]
    public void Guest_pings_asks_for_an_address_answers_and_finds_its_other_devices() => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(Fleet.Define("nic").Seed(5).Vm("alice", vm => vm
            .Boot(Guest.Debian()).Memory(128.MiB).Nic(s_guest)
            .With(new EntropySpec()).With(new ConsoleSpec()).With(new BalloonSpec())));
        Vm alice = lab["alice"];
        await lab.Boot();
        IReadOnlyList<VirtioDevice> devices = alice.Powered.Machine.Pc.Virtio;
        VirtioNet card = devices.OfType<VirtioNet>().Single();
        card.IsLinkUp = true;       // a card on no network has no cable
        var sent = new List<byte[]>();
        card.Sent = frame =>
        {
            sent.Add(frame.ToArray());
            if (IsIp(sent[^1], IcmpProtocol)) card.Receive(EchoReply(sent[^1]));
            if (Word(sent[^1], 12) == Arp && Word(sent[^1], 20) == Request) card.Receive(ArpPacket(s_guest, Reply));
        };

        Assert.That(await alice.Shell(
            "ip address add 10.0.0.1/24 dev eth0 && ip link set eth0 up && ping -c 2 10.0.0.2"),
            Prints.Containing("2 packets transmitted, 2 packets received"));
        await alice.Shell("udhcpc -i eth0 -n -q -t 1 -T 1 -s /bin/true");
        card.Receive(ArpPacket(MacAddress.Broadcast, Request));
        await lab.RunFor(10.Milliseconds);

        byte[][] pings = [.. sent.Where(frame => IsIp(frame, IcmpProtocol))], udp = [.. sent.Where(frame => IsIp(frame, UdpProtocol))];
        Assert.That((pings.Length, udp.Length), Is.EqualTo((2, 1)));
        Assert.That(pings.Select(ping => (Sum(ping.AsSpan(IpHeader, 20)), Sum(ping.AsSpan(Icmp)))), Has.All.EqualTo((0xFFFF, 0xFFFF)));
        Assert.That((Sum(udp[0].AsSpan(IpHeader, 20)), UdpSum(udp[0])), Is.EqualTo((0xFFFF, 0xFFFF)));
        byte[] arp = sent.Last(frame => Word(frame, 12) == Arp && Word(frame, 20) == Reply);
        Assert.That((MacAddress.Read(arp), MacAddress.Read(arp.AsSpan(22))), Is.EqualTo((s_peer, s_guest)));

        devices.OfType<VirtioBalloon>().Single().Target = 1000;
        Assert.That(await alice.Shell(
            "cat /sys/class/misc/hw_random/rng_current; head -c 64 /dev/hwrng | wc -c; echo hi >/dev/hvc0"),
            Prints.Exactly("virtio_rng.0\n64"));
        await lab.RunFor(1.Seconds);
        Assert.That(devices.OfType<VirtioBalloon>().Single().Actual, Is.EqualTo(1000));
        Assert.That(devices.Select(device => device.Transport.Malformed), Has.All.Zero);
    });

    static bool IsIp(byte[] frame, byte protocol) => Word(frame, 12) == Ip && frame[IpHeader + 9] == protocol;

    static int Word(byte[] frame, int at) => BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(at));

    /// <summary>The ones' complement sum of all 16-bit words: 0xFFFF where a right checksum is among them.</summary>
    static int Sum(ReadOnlySpan<byte> bytes, int more = 0)
    {
        int sum = more;
        for (int i = 0; i < bytes.Length; i++) sum += bytes[i] << (i % 2 == 0 ? 8 : 0);
        while (sum >> 16 != 0) sum = (sum & 0xFFFF) + (sum >> 16);
        return sum;
    }

    static int UdpSum(byte[] frame) =>
        Sum(frame.AsSpan(Udp), UdpProtocol + frame.Length - Udp + Sum(frame.AsSpan(IpHeader + 12, 8)));

    static byte[] EchoReply(byte[] request)
    {
        byte[] reply = [.. request[6..12], .. request[..6], .. request[12..]];
        request.AsSpan(26, 4).CopyTo(reply.AsSpan(30));
        request.AsSpan(30, 4).CopyTo(reply.AsSpan(26));
        (reply[Icmp], reply[Icmp + 2], reply[Icmp + 3]) = (0, 0, 0);
        BinaryPrimitives.WriteUInt16BigEndian(reply.AsSpan(Icmp + 2), (ushort)~Sum(reply.AsSpan(Icmp)));
        return reply;
    }

    /// <summary>From the peer at 10.0.0.2 to, or about, the guest at 10.0.0.1.</summary>
    static byte[] ArpPacket(MacAddress to, byte operation)
    {
        byte[] packet = new byte[60];
        to.Write(packet);
        s_peer.Write(packet.AsSpan(6));
        byte[] body = [8, 6, 0, 1, 8, 0, 6, 4, 0, operation];
        body.CopyTo(packet, 12);
        s_peer.Write(packet.AsSpan(22));
        ((byte[])[10, 0, 0, 2]).CopyTo(packet, 28);
        ((byte[])[10, 0, 0, 1]).CopyTo(packet, 38);
        return packet;
    }
}
