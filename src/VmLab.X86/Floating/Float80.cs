namespace VmLab.X86.Floating;

/// <summary>
/// An x87 register's 80 bits: sign, 15-bit exponent biased by 16383, and a significand with its integer bit.
/// </summary>
/// <param name="Significand">Bit 63 is the integer bit, set in every normal number, infinity and NaN.</param>
/// <param name="SignExponent">Bit 15 the sign, bits 14:0 the biased exponent.</param>
/// <remarks>
/// An exponent of zero with the integer bit set is a pseudo-denormal, a number; any other exponent without it is an
/// encoding that no operation accepts. Source: Intel SDM vol. 1 §4.2.2, §8.2, table 8-3.
/// </remarks>
public readonly record struct Float80(ulong Significand, ushort SignExponent)
{
    const int ExponentField = 0x7FFF;
    const ulong IntegerBit = 1UL << 63, QuietBit = 1UL << 62;

    public static Float80 Zero => default;
    public static Float80 One => new(IntegerBit, 0x3FFF);

    /// <summary>The answer to a masked invalid operation: a negative quiet NaN.</summary>
    public static Float80 Indefinite => new(IntegerBit | QuietBit, 0xFFFF);

    public bool IsNegative => (SignExponent & 0x8000) != 0;

    /// <summary>FCHS; the sign of anything, a NaN too.</summary>
    public Float80 Negated => this with { SignExponent = (ushort)(SignExponent ^ 0x8000) };

    /// <summary>FABS; a NaN's sign too.</summary>
    public Float80 Magnitude => this with { SignExponent = (ushort)(SignExponent & 0x7FFF) };

    /// <summary>What the full tag word says of a register in use.</summary>
    internal X87Tag Tag => (BiasedExponent, Significand) switch
    {
        (0, 0) => X87Tag.Zero,
        (0 or ExponentField, _) or (_, < IntegerBit) => X87Tag.Special,
        _ => X87Tag.Valid,
    };

    int BiasedExponent => SignExponent & ExponentField;

    internal Unpacked Unpack()
    {
        var significand = new UInt128(Significand, 0);
        int exponent = BiasedExponent;
        if (exponent == 0)
        {
            if (Significand == 0) return Unpacked.Zero(IsNegative);
            int least = FloatFormat.Extended.MinExponent;
            return Unpacked.Normalized(IsNegative, least, significand) with { IsDenormal = true };
        }

        if (Significand < IntegerBit) return new(FloatClass.Unsupported, IsNegative, 0, significand);
        if (exponent != ExponentField)
            return new(FloatClass.Finite, IsNegative, exponent - FloatFormat.Extended.Bias, significand);
        if (Significand == IntegerBit) return Unpacked.Infinity(IsNegative);
        bool isQuiet = (Significand & QuietBit) != 0;
        return new(isQuiet ? FloatClass.QuietNan : FloatClass.SignalingNan, IsNegative, 0, significand);
    }

    /// <summary>Puts together a value that is already rounded.</summary>
    internal static Float80 Pack(in Unpacked value)
    {
        int sign = value.IsNegative ? 0x8000 : 0;
        if (value.IsZero) return new(0, (ushort)sign);
        if (!value.IsFinite) return new(value.High, (ushort)(sign | ExponentField));

        int below = FloatFormat.Extended.MinExponent - value.Exponent;
        return below > 0
            ? new(value.High >> below, (ushort)sign)
            : new(value.High, (ushort)(sign | value.Exponent + FloatFormat.Extended.Bias));
    }
}
