using System.Globalization;

namespace VmLab;

/// <summary>A 48-bit Ethernet address.</summary>
/// <param name="Bits">The first byte on the wire is the highest.</param>
public readonly record struct MacAddress(ulong Bits)
{
    public const int Length = 6;

    public static MacAddress Broadcast { get; } = new(0xFFFF_FFFF_FFFF);

    /// <summary>Broadcast or multicast: meant for several.</summary>
    public bool IsGroup => (Bits >> 40 & 1) != 0;

    public static MacAddress Read(ReadOnlySpan<byte> bytes)
    {
        ulong bits = 0;
        foreach (byte value in bytes[..Length]) bits = bits << 8 | value;
        return new MacAddress(bits);
    }

    public void Write(Span<byte> bytes)
    {
        for (int i = 0; i < Length; i++) bytes[i] = (byte)(Bits >> 8 * (Length - 1 - i));
    }

    /// <summary>As in <c>52:54:00:12:34:56</c>.</summary>
    public override string ToString()
    {
        Span<byte> bytes = stackalloc byte[Length];
        Write(bytes);
        return string.Join(':', bytes.ToArray().Select(value => value.ToString("x2", CultureInfo.InvariantCulture)));
    }
}
