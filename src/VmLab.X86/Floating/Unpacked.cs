using System.Diagnostics;

namespace VmLab.X86.Floating;

/// <summary>A datum of any format, taken apart: the common ground of all arithmetic here.</summary>
/// <param name="Exponent">Of a finite number: its value is ±1.fraction × 2^Exponent.</param>
/// <param name="Significand">
/// Of a finite number: the integer bit at bit 127 and the fraction below. An operand uses the upper 64 bits; of a
/// result before rounding, bit 0 is set if anything lies below it (sticky). Of a NaN: the significand, aligned alike.
/// </param>
/// <param name="IsDenormal">
/// It came from a denormal (or pseudo-denormal) encoding, though it is normalised here.
/// </param>
readonly record struct Unpacked(
    FloatClass Class, bool IsNegative, int Exponent, UInt128 Significand, bool IsDenormal = false)
{
    static readonly UInt128 TopBit = UInt128.One << 127;
    static readonly UInt128 QuietBit = UInt128.One << 126;

    public bool IsNan => Class is FloatClass.QuietNan or FloatClass.SignalingNan;
    /// <summary>Zero, finite or infinite: what arithmetic is about.</summary>
    public bool IsNumber => Class <= FloatClass.Infinity;

    public bool IsZero => Class == FloatClass.Zero;
    public bool IsFinite => Class == FloatClass.Finite;
    public bool IsInfinity => Class == FloatClass.Infinity;

    /// <summary>The upper half of the significand: all of it, for an operand.</summary>
    public ulong High => (ulong)(Significand >> 64);

    /// <summary>The answer to an invalid operation: the negative quiet NaN without a payload.</summary>
    public static Unpacked Indefinite => new(FloatClass.QuietNan, true, 0, TopBit | QuietBit);

    public static Unpacked Zero(bool isNegative) => new(FloatClass.Zero, isNegative, 0, 0);
    public static Unpacked Infinity(bool isNegative) => new(FloatClass.Infinity, isNegative, 0, TopBit);

    /// <summary>
    /// A finite number from any non-zero significand, normalised; the value is significand × 2^(exponent − 127).
    /// </summary>
    public static Unpacked Normalized(bool isNegative, int exponent, UInt128 significand)
    {
        Debug.Assert(significand != 0, "zero has its own class");
        int shift = (int)UInt128.LeadingZeroCount(significand);
        return new(FloatClass.Finite, isNegative, exponent - shift, significand << shift);
    }

    public static Unpacked FromInteger(long value) => value == 0
        ? Zero(false)
        : Normalized(value < 0, 63, (UInt128)(value < 0 ? 0 - (ulong)value : (ulong)value) << 64);

    public Unpacked Quieted() => this with { Class = FloatClass.QuietNan, Significand = Significand | QuietBit };

    public Unpacked Negated() => this with { IsNegative = !IsNegative };
}
