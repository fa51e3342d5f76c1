using System.Buffers.Binary;

namespace VmLab;

/// <summary>An address of the Internet Protocol, version 4.</summary>
/// <param name="Bits">The first byte on the wire is the highest.</param>
public readonly record struct Ipv4Address(uint Bits)
{
    public const int Length = 4;

    public static Ipv4Address Broadcast { get; } = new(0xFFFF_FFFF);

    public static Ipv4Address Of(byte first, byte second, byte third, byte fourth) =>
        new((uint)first << 24 | (uint)second << 16 | (uint)third << 8 | fourth);

    public static Ipv4Address Read(ReadOnlySpan<byte> bytes) => new(BinaryPrimitives.ReadUInt32BigEndian(bytes));

    public void Write(Span<byte> bytes) => BinaryPrimitives.WriteUInt32BigEndian(bytes, Bits);

    /// <summary>As in <c>10.0.0.1</c>.</summary>
    public override string ToString() => $"{Bits >> 24}.{Bits >> 16 & 0xFF}.{Bits >> 8 & 0xFF}.{Bits & 0xFF}";
}
