using System.Buffers.Binary;

namespace VmLab.Networks;

/// <summary>Gives each machine its one address, for good.</summary>
/// <remarks>Source: RFC 2131 (DHCP) §2 table 1, §4.3; RFC 2132 (options).</remarks>
static class DhcpServer
{
    const int FixedLength = 236, OptionsAt = 240, LeastLength = 300;
    const int Transaction = 4, Client = 12, Yours = 16, Server = 20, Hardware = 28, HardwareLength = 16;
    const uint Magic = 0x63825363, Forever = 0xFFFF_FFFF;
    const byte Request = 1, Reply = 2, Ethernet = 1;
    const byte Pad = 0, SubnetMask = 1, NameServer = 6, HostName = 12, Wanted = 50, LeaseTime = 51, MessageType = 53, ServerId = 54, End = 255;
    const byte Discover = 1, Offer = 2, Requested = 3, Acknowledge = 5, Refuse = 6, Inform = 8;

    static readonly Ipv4Address s_mask = Ipv4Address.Of(255, 255, 255, 0);

    /// <param name="message">The payload of a datagram to port 67.</param>
    /// <returns>The payload of the answer; <see langword="null"/> where there is none to give.</returns>
    public static byte[]? Answer(ReadOnlySpan<byte> message, LinkPort asker, Ipv4Address server)
    {
        if (message.Length < OptionsAt || message[0] != Request || message[1] != Ethernet || message[2] != MacAddress.Length) return null;
        if (MacAddress.Read(message[Hardware..]) != asker.Card) return null;     // a guest of the guest
        if (BinaryPrimitives.ReadUInt32BigEndian(message[FixedLength..]) != Magic) return null;
        ReadOnlySpan<byte> options = message[OptionsAt..], kind = Find(options, MessageType);
        ReadOnlySpan<byte> chosen = Find(options, ServerId), wanted = Find(options, Wanted);
        if (kind.Length != 1 || chosen.Length == Ipv4Address.Length && Ipv4Address.Read(chosen) != server) return null;
        if (wanted.Length != Ipv4Address.Length) wanted = message.Slice(Client, Ipv4Address.Length);
        byte? answer = kind[0] switch
        {
            Discover => Offer,
            Requested => Ipv4Address.Read(wanted) == asker.Address ? Acknowledge : Refuse,
            Inform => Acknowledge,
            _ => null,
        };
        return answer is { } type ? Write(message, type, asker, server, hasAddress: kind[0] != Inform) : null;
    }

    static byte[] Write(ReadOnlySpan<byte> message, byte type, LinkPort asker, Ipv4Address server, bool hasAddress)
    {
        byte[] reply = new byte[LeastLength + HostName + asker.Machine.Length];
        (reply[0], reply[1], reply[2]) = (Reply, Ethernet, MacAddress.Length);
        message.Slice(Transaction, 4).CopyTo(reply.AsSpan(Transaction));
        message.Slice(Hardware, HardwareLength).CopyTo(reply.AsSpan(Hardware));
        if (hasAddress && type != Refuse) asker.Address.Write(reply.AsSpan(Yours));
        server.Write(reply.AsSpan(Server));
        BinaryPrimitives.WriteUInt32BigEndian(reply.AsSpan(FixedLength), Magic);

        var options = new MemoryStream(reply, OptionsAt, reply.Length - OptionsAt);
        Put(options, MessageType, [type]);
        Put(options, ServerId, Bytes(server.Bits));
        if (type != Refuse)
        {
            if (hasAddress) Put(options, LeaseTime, Bytes(Forever));
            Put(options, SubnetMask, Bytes(s_mask.Bits));
            Put(options, NameServer, Bytes(server.Bits));
            Put(options, HostName, System.Text.Encoding.ASCII.GetBytes(asker.Machine));
        }
        options.WriteByte(End);
        return reply;
    }

    /// <summary>What an option says; nothing where it is not there.</summary>
    static ReadOnlySpan<byte> Find(ReadOnlySpan<byte> options, byte code)
    {
        while (options.Length >= 2 && options[0] != End)
        {
            if (options[0] == Pad)
            {
                options = options[1..];
                continue;
            }
            int length = options[1];
            if (options.Length < 2 + length) return default;
            if (options[0] == code) return options.Slice(2, length);
            options = options[(2 + length)..];
        }
        return default;
    }

    static void Put(MemoryStream options, byte code, ReadOnlySpan<byte> value)
    {
        options.WriteByte(code);
        options.WriteByte((byte)value.Length);
        options.Write(value);
    }

    static byte[] Bytes(uint value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }
}
