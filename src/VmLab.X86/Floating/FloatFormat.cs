namespace VmLab.X86.Floating;

/// <summary>A binary interchange format, or what the x87's precision control makes of the extended one.</summary>
/// <param name="Precision">Bits of the significand, the integer bit included.</param>
/// <param name="Bias">Also the largest exponent; the smallest of a normal number is 1 − Bias.</param>
/// <remarks>Source: IEEE 754-2008 §3.4, table 3.5; Intel SDM vol. 1 §4.2.2.</remarks>
readonly record struct FloatFormat(int Precision, int Bias)
{
    public static FloatFormat Single => new(24, 127);
    public static FloatFormat Double => new(53, 1023);
    public static FloatFormat Extended => new(64, 16383);

    public int MinExponent => 1 - Bias;
    public int MaxExponent => Bias;

    int FractionBits => Precision - 1;
    ulong FractionMask => (1UL << FractionBits) - 1;
    int ExponentField => 2 * Bias + 1;
    int SignShift => Precision == 24 ? 31 : 63;

    /// <summary>Takes apart a number of 32 or 64 bits.</summary>
    public Unpacked Unpack(ulong bits, bool denormalsAreZero)
    {
        bool isNegative = (bits >> SignShift & 1) != 0;
        int exponent = (int)(bits >> FractionBits) & ExponentField;
        ulong fraction = bits & FractionMask;
        var significand = (UInt128)fraction << 128 - Precision;

        if (exponent == 0)
            return fraction == 0 || denormalsAreZero
                ? Unpacked.Zero(isNegative)
                : Unpacked.Normalized(isNegative, MinExponent, significand) with { IsDenormal = true };

        significand |= UInt128.One << 127;
        if (exponent != ExponentField) return new(FloatClass.Finite, isNegative, exponent - Bias, significand);
        if (fraction == 0) return Unpacked.Infinity(isNegative);
        bool isQuiet = (fraction >> FractionBits - 1) != 0;
        return new(isQuiet ? FloatClass.QuietNan : FloatClass.SignalingNan, isNegative, 0, significand);
    }

    /// <summary>
    /// Puts together a number of 32 or 64 bits that is already rounded; a NaN loses the payload's low bits.
    /// </summary>
    public ulong Pack(in Unpacked value)
    {
        ulong sign = value.IsNegative ? 1UL << SignShift : 0;
        if (value.IsZero) return sign;

        ulong significand = (ulong)(value.Significand >> 128 - Precision);
        if (!value.IsFinite) return sign | (ulong)ExponentField << FractionBits | significand & FractionMask;

        int below = MinExponent - value.Exponent;
        return below > 0
            ? sign | significand >> below
            : sign | (ulong)(value.Exponent + Bias) << FractionBits | significand & FractionMask;
    }
}
