using System.Buffers.Binary;
using System.Text;
using VmLab.Networks;

namespace VmLab;

/// <summary>Frames of a kind: a value. What it does not name may be anything.</summary>
/// <remarks>Ports are found in whole packets and in first fragments. Source: RFC 791 §3.1; RFC 768; RFC 9293 §3.1.</remarks>
public sealed record FrameMatch
{
    const byte IcmpProtocol = 1, TcpProtocol = 6, UdpProtocol = 17;
    const int LeastIpLength = 20;
    const ushort FragmentOffset = 0x1FFF;

    public ushort? EtherType { get; init; }

    /// <summary>Of IPv4.</summary>
    public byte? Protocol { get; init; }

    /// <summary>Of TCP or UDP, its source or its destination.</summary>
    public ushort? Port { get; init; }

    /// <summary>Text that it holds, each character a byte.</summary>
    public string? Text { get; init; }

    /// <summary>Name of the machine that sends it.</summary>
    public string? Sender { get; init; }

    /// <summary>Name of the machine that alone it is for.</summary>
    public string? Receiver { get; init; }

    public static FrameMatch Any { get; } = new();

    public static FrameMatch Arp { get; } = new() { EtherType = Frames.Arp };

    public static FrameMatch Icmp { get; } = new() { EtherType = Frames.Ipv4, Protocol = IcmpProtocol };

    public static FrameMatch Tcp(ushort? port = null) => new() { EtherType = Frames.Ipv4, Protocol = TcpProtocol, Port = port };

    public static FrameMatch Udp(ushort? port = null) => new() { EtherType = Frames.Ipv4, Protocol = UdpProtocol, Port = port };

    /// <param name="text">Each character, up to U+00FF, is a byte.</param>
    public FrameMatch Containing(string text) => this with { Text = text };

    public FrameMatch From(VmRef sender) => this with { Sender = sender.Name };

    public FrameMatch To(VmRef receiver) => this with { Receiver = receiver.Name };

    /// <param name="frame">At least an Ethernet header.</param>
    internal bool Matches(string sender, string? receiver, ReadOnlySpan<byte> frame)
    {
        if (Sender is not null && Sender != sender || Receiver is not null && Receiver != receiver) return false;
        if (EtherType is { } type && Frames.EtherTypeOf(frame) != type) return false;
        if (Text is not null && frame.IndexOf(Encoding.Latin1.GetBytes(Text)) < 0) return false;
        if (Protocol is null && Port is null) return true;

        ReadOnlySpan<byte> packet = frame[Frames.HeaderLength..];
        if (Frames.EtherTypeOf(frame) != Frames.Ipv4 || packet.Length < LeastIpLength) return false;
        return (Protocol is not { } protocol || packet[9] == protocol) && (Port is not { } port || HasPort(packet, port));
    }

    static bool HasPort(ReadOnlySpan<byte> packet, ushort port)
    {
        int header = (packet[0] & 0xF) * 4;
        bool isFirst = (BinaryPrimitives.ReadUInt16BigEndian(packet[6..]) & FragmentOffset) == 0;
        if (packet[9] is not (TcpProtocol or UdpProtocol) || !isFirst || packet.Length < header + 4) return false;
        return BinaryPrimitives.ReadUInt16BigEndian(packet[header..]) == port
            || BinaryPrimitives.ReadUInt16BigEndian(packet[(header + 2)..]) == port;
    }
}
