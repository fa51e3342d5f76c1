using System.Buffers.Binary;
using VmLab.Core;

namespace VmLab.Networks;

/// <summary>A UDP datagram in an IPv4 packet in an Ethernet frame.</summary>
/// <param name="Payload">Where in the frame its payload lies.</param>
/// <remarks>Source: RFC 791 §3.1 (header), RFC 768 (UDP), RFC 1071 (checksum).</remarks>
readonly record struct Datagram(Ipv4Address From, Ipv4Address To, ushort FromPort, ushort ToPort, Range Payload)
{
    const int IpLength = 20, UdpLength = 8, PseudoLength = 12, LongestPayload = 1472;
    const byte Udp = 17, TimeToLive = 64;
    const ushort MoreOrOffset = 0x3FFF;

    /// <summary>Reads a frame whose type is IPv4; <see langword="null"/> for anything but a whole, right UDP datagram.</summary>
    public static Datagram? Read(ReadOnlySpan<byte> frame)
    {
        ReadOnlySpan<byte> packet = frame[Frames.HeaderLength..];
        if (packet.Length < IpLength || packet[0] >> 4 != 4) return null;
        int header = (packet[0] & 0xF) * 4, total = Word(packet, 2);
        if (header < IpLength || total < header + UdpLength || total > packet.Length) return null;
        if (packet[9] != Udp || (Word(packet, 6) & MoreOrOffset) != 0 || Sum(packet[..header]) != 0xFFFF) return null;

        ReadOnlySpan<byte> udp = packet[header..total];
        int length = Word(udp, 4);
        if (length < UdpLength || length > udp.Length) return null;
        if (Word(udp, 6) != 0 && Sum(udp[..length], PseudoSum(packet, length)) != 0xFFFF) return null;
        int start = Frames.HeaderLength + header + UdpLength;
        return new Datagram(
            Ipv4Address.Read(packet[12..]), Ipv4Address.Read(packet[16..]), (ushort)Word(udp, 0), (ushort)Word(udp, 2),
            start..(start + length - UdpLength));
    }

    /// <summary>Writes a frame with a datagram of at most 1472 bytes.</summary>
    public static byte[] Write(
        ReadOnlySpan<byte> payload, MacAddress toCard, MacAddress fromCard, Ipv4Address from, Ipv4Address to, ushort fromPort, ushort toPort)
    {
        Require.InRange(payload.Length, 0, LongestPayload);
        byte[] frame = new byte[Math.Max(Frames.Least, Frames.HeaderLength + IpLength + UdpLength + payload.Length)];
        Frames.WriteHeader(frame, toCard, fromCard, Frames.Ipv4);

        Span<byte> packet = frame.AsSpan(Frames.HeaderLength, IpLength + UdpLength + payload.Length);
        packet[0] = 0x45;
        PutWord(packet, 2, packet.Length);
        (packet[8], packet[9]) = (TimeToLive, Udp);
        from.Write(packet[12..]);
        to.Write(packet[16..]);
        PutWord(packet, 10, ~Sum(packet[..IpLength]));

        Span<byte> udp = packet[IpLength..];
        PutWord(udp, 0, fromPort);
        PutWord(udp, 2, toPort);
        PutWord(udp, 4, udp.Length);
        payload.CopyTo(udp[UdpLength..]);
        int sum = ~Sum(udp, PseudoSum(packet, udp.Length)) & 0xFFFF;
        PutWord(udp, 6, sum == 0 ? 0xFFFF : sum);   // 0 would say that there is none
        return frame;
    }

    static int PseudoSum(ReadOnlySpan<byte> packet, int udpLength) => Sum(packet.Slice(PseudoLength, 8), Udp + udpLength);

    /// <summary>The ones' complement sum of all 16-bit words: 0xFFFF where a right checksum is among them.</summary>
    static int Sum(ReadOnlySpan<byte> bytes, int sum = 0)
    {
        for (int i = 0; i < bytes.Length; i++) sum += bytes[i] << (i % 2 == 0 ? 8 : 0);
        while (sum >> 16 != 0) sum = (sum & 0xFFFF) + (sum >> 16);
        return sum;
    }

    static int Word(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16BigEndian(bytes[at..]);

    static void PutWord(Span<byte> bytes, int at, int value) => BinaryPrimitives.WriteUInt16BigEndian(bytes[at..], (ushort)value);
}
