using System.Buffers.Binary;

namespace VmLab.Networks;

/// <summary>Ethernet frames. Source: IEEE 802.3 §3.1; RFC 894.</summary>
static class Frames
{
    public const int HeaderLength = 14, Least = 60;
    public const ushort Ipv4 = 0x0800, Arp = 0x0806;

    const int TypeOffset = 12;

    /// <param name="frame">At least a header.</param>
    public static ushort EtherTypeOf(ReadOnlySpan<byte> frame) => BinaryPrimitives.ReadUInt16BigEndian(frame[TypeOffset..]);

    public static void WriteHeader(Span<byte> frame, MacAddress to, MacAddress from, ushort etherType)
    {
        to.Write(frame);
        from.Write(frame[MacAddress.Length..]);
        BinaryPrimitives.WriteUInt16BigEndian(frame[TypeOffset..], etherType);
    }
}
