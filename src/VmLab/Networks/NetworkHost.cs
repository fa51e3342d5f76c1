using VmLab.Core;

namespace VmLab.Networks;

/// <summary>The host inside every network: it says who has its address, gives addresses to the machines, and knows the
/// names of the fleet's.</summary>
/// <remarks>It remembers nothing: each machine's address follows from the fleet. It has no way out of the network.</remarks>
sealed class NetworkHost(LinkSpec link, FleetNames names)
{
    const int ArpLength = 28;
    const byte ArpReply = 2;
    const ushort BootpServer = 67, BootpClient = 68, Domain = 53;

    // Ethernet, IPv4, lengths of their addresses, request.
    static readonly byte[] s_arpRequest = [0, 1, 8, 0, 6, 4, 0, 1];

    public MacAddress Card { get; } = FleetNames.HostCard(link.Index);

    Ipv4Address Address { get; } = FleetNames.HostAddress(link.Index);

    /// <summary>Answers a frame.</summary>
    /// <param name="asker">Who sent it.</param>
    /// <returns>The answer; <see langword="null"/> where there is none to give.</returns>
    public Values<byte>? Answer(LinkPort asker, ReadOnlySpan<byte> frame)
    {
        byte[]? answer = Frames.EtherTypeOf(frame) switch
        {
            Frames.Arp => AnswerArp(frame),
            Frames.Ipv4 => Datagram.Read(frame) is { } datagram ? Answer(asker, frame, datagram) : null,
            _ => null,
        };
        return answer is null ? null : new Values<byte>(answer);
    }

    // Source: RFC 826, "Packet Reception".
    byte[]? AnswerArp(ReadOnlySpan<byte> frame)
    {
        ReadOnlySpan<byte> request = frame[Frames.HeaderLength..];
        if (request.Length < ArpLength || !request[..8].SequenceEqual(s_arpRequest)) return null;
        if (Ipv4Address.Read(request[24..]) != Address) return null;
        byte[] reply = new byte[Frames.Least];
        Frames.WriteHeader(reply, MacAddress.Read(request[8..]), Card, Frames.Arp);
        Span<byte> body = reply.AsSpan(Frames.HeaderLength);
        request[..8].CopyTo(body);
        body[7] = ArpReply;
        Card.Write(body[8..]);
        Address.Write(body[14..]);
        request[8..18].CopyTo(body[18..]);
        return reply;
    }

    byte[]? Answer(LinkPort asker, ReadOnlySpan<byte> frame, Datagram datagram)
    {
        ReadOnlySpan<byte> payload = frame[datagram.Payload];
        MacAddress source = MacAddress.Read(frame[MacAddress.Length..]);
        if (datagram.ToPort == BootpServer)
            return DhcpServer.Answer(payload, asker, Address) is { } offer
                ? Datagram.Write(offer, asker.Card, Card, Address, Ipv4Address.Broadcast, BootpServer, BootpClient)
                : null;
        if (datagram.ToPort == Domain && datagram.To == Address)
            return DomainServer.Answer(payload, name => names.Find(name, asker.Machine, link), names.NameOf) is { } answer
                ? Datagram.Write(answer, source, Card, Address, datagram.From, Domain, datagram.FromPort)
                : null;
        return null;
    }
}
