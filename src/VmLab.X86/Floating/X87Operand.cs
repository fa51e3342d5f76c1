namespace VmLab.X86.Floating;

/// <summary>
/// A memory operand on its way to the x87: still known to be denormal or signaling in the format it came from.
/// </summary>
/// <remarks>Source: Intel SDM vol. 1 §4.7 (BCD), §8.1.10, §8.5.2; vol. 2, FLD, FILD, FBLD.</remarks>
public readonly struct X87Operand
{
    X87Operand(in Unpacked value) => Value = value;

    internal Unpacked Value { get; }

    /// <summary>m32fp.</summary>
    public static X87Operand FromSingle(uint bits) => new(FloatFormat.Single.Unpack(bits, denormalsAreZero: false));

    /// <summary>m64fp.</summary>
    public static X87Operand FromDouble(ulong bits) => new(FloatFormat.Double.Unpack(bits, denormalsAreZero: false));

    /// <summary>m16int, m32int and m64int, extended with their sign.</summary>
    public static X87Operand FromInteger(long value) => new(Unpacked.FromInteger(value));

    /// <summary>
    /// m80bcd: eighteen decimal digits, two a byte, the lowest first, then the sign in the top bit of the last byte.
    /// </summary>
    /// <param name="low">The lowest sixteen digits.</param>
    /// <param name="high">Two digits more, and the sign.</param>
    /// <remarks>A digit above nine, undefined by the manual, counts as its value.</remarks>
    public static X87Operand FromPackedDecimal(ulong low, ushort high)
    {
        ulong magnitude = 0;
        for (int shift = 4; shift >= 0; shift -= 4) magnitude = magnitude * 10 + (ulong)(high >> shift & 0xF);
        for (int shift = 60; shift >= 0; shift -= 4) magnitude = magnitude * 10 + (low >> shift & 0xF);
        bool isNegative = (high & 0x8000) != 0;
        return new(Unpacked.FromInteger((long)magnitude) with { IsNegative = isNegative });
    }
}
