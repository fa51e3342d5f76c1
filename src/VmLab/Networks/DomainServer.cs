using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace VmLab.Networks;

/// <summary>Answers questions for the addresses of machines, and for the machines of addresses.</summary>
/// <remarks>Source: RFC 1035 §4.1 (messages), §3.5 (in-addr.arpa).</remarks>
static class DomainServer
{
    const int HeaderLength = 12, LongestLabel = 63, LongestName = 255;
    const ushort Host = 1, Pointer = 12, Any = 255, Internet = 1;
    const ushort IsResponse = 0x8000, Operation = 0x7800, IsAuthority = 0x0400, RecursionWanted = 0x0100, RecursionThere = 0x0080;
    const ushort NoSuchName = 3, NotImplemented = 4;
    const uint TimeToLive = 60;
    const string Reverse = ".in-addr.arpa";

    /// <param name="message">The payload of a datagram to port 53.</param>
    /// <param name="find">The address of a machine, by its name in lower case.</param>
    /// <param name="nameOf">The machine that has an address.</param>
    /// <returns>The payload of the answer; <see langword="null"/> for what is no question.</returns>
    public static byte[]? Answer(ReadOnlySpan<byte> message, Func<string, Ipv4Address?> find, Func<Ipv4Address, string?> nameOf)
    {
        if (message.Length < HeaderLength) return null;
        int flags = Word(message, 2);
        if ((flags & IsResponse) != 0 || Word(message, 4) != 1) return null;
        int end = ReadName(message, HeaderLength, out string name);
        if (end < 0 || end + 4 > message.Length) return null;
        int type = Word(message, end), ofClass = Word(message, end + 2);
        ReadOnlySpan<byte> question = message[HeaderLength..(end + 4)];

        if ((flags & Operation) != 0) return Write(message, question, NotImplemented, null);
        byte[]? record = null;
        bool isKnown;
        if (name.EndsWith(Reverse, StringComparison.Ordinal))
        {
            string? machine = AddressIn(name) is { } address ? nameOf(address) : null;
            isKnown = machine is not null;
            if (isKnown && Asks(type, ofClass, Pointer)) record = Record(Pointer, NameBytes(machine!));
        }
        else
        {
            Ipv4Address? address = find(name);
            isKnown = address is not null;
            if (isKnown && Asks(type, ofClass, Host)) record = Record(Host, AddressBytes(address!.Value));
        }
        return Write(message, question, isKnown ? (ushort)0 : NoSuchName, record);
    }

    static bool Asks(int type, int ofClass, ushort wanted) => (type == wanted || type == Any) && ofClass is Internet or Any;

    static byte[] Write(ReadOnlySpan<byte> message, ReadOnlySpan<byte> question, ushort code, byte[]? record)
    {
        byte[] answer = new byte[HeaderLength + question.Length + (record?.Length ?? 0)];
        message[..2].CopyTo(answer);
        int flags = Word(message, 2) & (RecursionWanted | Operation);
        PutWord(answer, 2, (ushort)(flags | IsResponse | IsAuthority | RecursionThere | code));
        PutWord(answer, 4, 1);
        PutWord(answer, 6, record is null ? (ushort)0 : (ushort)1);
        question.CopyTo(answer.AsSpan(HeaderLength));
        record?.CopyTo(answer, HeaderLength + question.Length);
        return answer;
    }

    /// <summary>A record about the name in the question.</summary>
    static byte[] Record(ushort type, byte[] data)
    {
        byte[] record = new byte[12 + data.Length];
        PutWord(record, 0, 0xC000 | HeaderLength);
        PutWord(record, 2, type);
        PutWord(record, 4, Internet);
        BinaryPrimitives.WriteUInt32BigEndian(record.AsSpan(6), TimeToLive);
        PutWord(record, 10, (ushort)data.Length);
        data.CopyTo(record, 12);
        return record;
    }

    /// <returns>Where the name ends; -1 where it is none.</returns>
    static int ReadName(ReadOnlySpan<byte> message, int at, out string name)
    {
        var labels = new StringBuilder();
        name = "";
        while (at < message.Length && message[at] is not 0)
        {
            int length = message[at];
            if (length > LongestLabel || at + 1 + length > message.Length || labels.Length + length > LongestName) return -1;
            if (labels.Length > 0) labels.Append('.');
            labels.Append(Encoding.Latin1.GetString(message.Slice(at + 1, length)));
            at += 1 + length;
        }
        name = labels.ToString().ToLowerInvariant();
        return at < message.Length ? at + 1 : -1;
    }

    static Ipv4Address? AddressIn(string reverse)
    {
        string[] parts = reverse[..^Reverse.Length].Split('.');
        uint bits = 0;
        if (parts.Length != Ipv4Address.Length) return null;
        for (int i = parts.Length - 1; i >= 0; i--)
        {
            if (!byte.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out byte value)) return null;
            bits = bits << 8 | value;
        }
        return new Ipv4Address(bits);
    }

    static byte[] NameBytes(string label) => [(byte)label.Length, .. Encoding.ASCII.GetBytes(label), 0];

    static byte[] AddressBytes(Ipv4Address address)
    {
        byte[] bytes = new byte[Ipv4Address.Length];
        address.Write(bytes);
        return bytes;
    }

    static int Word(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16BigEndian(bytes[at..]);

    static void PutWord(Span<byte> bytes, int at, ushort value) => BinaryPrimitives.WriteUInt16BigEndian(bytes[at..], value);
}
