namespace VmLab.X86.Floating;

/// <summary>
/// The functions of the x87 that hardware only approximates; here they are computed once for all hosts.
/// </summary>
/// <remarks>
/// <para>Each is worked out to about 2^-120 of its value and then rounded, as the control word says: correctly, but for
/// one operand in about 2^55. Intel's and AMD's processors stay within one unit of the last place of this (Intel SDM
/// vol. 1 §8.3.10). Results are truncated, with the sticky bit set: none is a number that a register holds, but for the
/// cases that the callers take out.</para>
/// <para>Operands are finite and not zero.</para>
/// </remarks>
static class Transcendental
{
    // π as FSIN and its kin know it: 66 bits, C90FDAA22168C234C × 2^-66 (Intel SDM vol. 1 §8.3.8). Half of it in units
    // of 2^-67:
    static readonly UInt128 HalfPi66 = new(0xC, 0x90FDAA22168C234C);

    static readonly Unpacked Pi = Constant(1, 0xC90FDAA22168C234, 0xC4C6628B80DC1CD1);
    static readonly Unpacked LnOf2 = Constant(-1, 0xB17217F7D1CF79AB, 0xC9E3B39803F2F6AF);
    static readonly Unpacked Log2OfE = Constant(0, 0xB8AA3B295C17F0BB, 0xBE87FED0691D3E88);

    /// <summary>The arctangents of 1/8 to 8/8.</summary>
    static readonly Unpacked[] ArctangentsOfEighths =
    [
        Constant(-4, 0xFEADD4D5617B6E32, 0xC897989F3E888EF7), Constant(-3, 0xFADBAFC96406EB15, 0x6DC79EF5F7A217E5),
        Constant(-2, 0xB7B0CA0F26F78473, 0x8AA32122DCFE4483), Constant(-2, 0xED63382B0DDA7B45, 0x6FE445ECBC3A8D03),
        Constant(-1, 0x8F005D5EF7F59F9B, 0x5C835E1665C43747), Constant(-1, 0xA4BC7D1934F70924, 0x19A87F2A457DAC9E),
        Constant(-1, 0xB8053E2BC2319E73, 0xCB2DA55210A4443D), Constant(-1, 0xC90FDAA22168C234, 0xC4C6628B80DC1CD1),
    ];

    // Taylor coefficients, as many as the largest reduced operand needs for a last term below 2^-127.
    static readonly UInt128[] Exponential = Inverses(31, i => Factorial(i + 1));
    static readonly UInt128[] Sines = Inverses(17, i => Factorial(2 * i + 1));
    static readonly UInt128[] Cosines = Inverses(17, i => Factorial(2 * i));
    static readonly UInt128[] Odds = Inverses(26, i => (UInt128)(2 * i + 1));

    static readonly Unpacked One = Unpacked.FromInteger(1);

    /// <summary>2^x − 1, for |x| of at most 1.</summary>
    public static Unpacked PowerOfTwoMinusOne(in Unpacked x)
    {
        // e^y − 1 = y (1 + y/2! + y²/3! + ...), |y| ≤ ln 2
        var y = WideMath.Multiply(x, LnOf2);
        return Inexact(WideMath.Multiply(y, WideMath.Series(Exponential, WideMath.ToFraction(y), y.IsNegative)));
    }

    /// <summary>
    /// y log2 x, for positive x. It is exact, and rounded as any product, when x is a power of two; x is not 1.
    /// </summary>
    public static Unpacked Logarithm(in Unpacked x, in Unpacked y)
    {
        // x = 2^e m, m from √½ to √2, so that nothing cancels in e + log2 m.
        const ulong rootOf2 = 0xB504F333F9DE6485;
        int isAbove = x.High >= rootOf2 ? 1 : 0;
        int exponent = x.Exponent + isAbove;
        if (x.Significand == UInt128.One << 127) return WideMath.Multiply(y, Unpacked.FromInteger(exponent));

        var m = x with { Exponent = -isAbove, IsDenormal = false };
        var logarithm = LogarithmOfRatio(WideMath.Add(m, One.Negated()), WideMath.Add(m, One));
        if (exponent != 0) logarithm = WideMath.Add(logarithm, Unpacked.FromInteger(exponent));
        return Inexact(WideMath.Multiply(y, logarithm));
    }

    /// <summary>y log2(1 + x), for x above −1; precise however small x is.</summary>
    public static Unpacked LogarithmOfOnePlus(in Unpacked x, in Unpacked y)
    {
        // Within the manual's range, −(1 − √½) to √2 − 1; beyond it the sum loses nothing that matters.
        if (x.Exponent >= -2) return Logarithm(WideMath.Add(x, One), y);
        var logarithm = LogarithmOfRatio(x, WideMath.Add(x, Unpacked.FromInteger(2)));
        return Inexact(WideMath.Multiply(y, logarithm));
    }

    /// <summary>The angle of the point (x, y), from −π to π.</summary>
    public static Unpacked Arctangent(in Unpacked y, in Unpacked x)
    {
        // First octant: t = low / high; its angle is that of the nearest eighth k/8, and that of (t − k/8) / (1 + t
        // k/8).
        bool isSteep = FloatMath.CompareMagnitude(y, x) > 0;
        var low = Positive(isSteep ? x : y);
        var high = Positive(isSteep ? y : x);
        var angle = AngleOf(low, high);
        if (isSteep) angle = WideMath.Add(Pi with { Exponent = 0 }, angle.Negated());
        if (x.IsNegative) angle = WideMath.Add(Pi, angle.Negated());
        return Inexact(angle with { IsNegative = y.IsNegative });
    }

    /// <summary>π times a number of quarters, 1 to 4.</summary>
    public static Unpacked QuartersOfPi(int quarters) =>
        Inexact(WideMath.Multiply(Pi with { Exponent = -1 }, Unpacked.FromInteger(quarters)));

    public static Unpacked Sine(in Unpacked x)
    {
        int quadrant = Reduce(x, out var angle);
        var sine = (quadrant & 1) == 0 ? SineOf(angle) : CosineOf(angle);
        return Inexact(sine with { IsNegative = sine.IsNegative != (quadrant >= 2) != x.IsNegative });
    }

    public static Unpacked Cosine(in Unpacked x)
    {
        int quadrant = Reduce(x, out var angle);
        var cosine = (quadrant & 1) == 0 ? CosineOf(angle) : SineOf(angle);
        return Inexact(cosine with { IsNegative = cosine.IsNegative != (quadrant is 1 or 2) });
    }

    public static Unpacked Tangent(in Unpacked x)
    {
        int quadrant = Reduce(x, out var angle);
        var tangent = (quadrant & 1) == 0
            ? TangentOf(angle)
            : WideMath.Divide(CosineOf(angle), SineOf(angle)).Negated();
        return Inexact(tangent with { IsNegative = tangent.IsNegative != x.IsNegative });
    }

    /// <summary>Takes whole quarter turns off |x|, exactly, but with a π of 66 bits.</summary>
    /// <param name="angle">
    /// From −π/4 to π/4; never zero, for no 64-bit number is a multiple of a number of 66 bits.
    /// </param>
    /// <returns>The quarter turns, modulo 4.</returns>
    static int Reduce(in Unpacked x, out Unpacked angle)
    {
        angle = Positive(x);
        if (x.Exponent < -1) return 0;

        // |x| in units of 2^-67 is its significand shifted left; 60 places at a time fit.
        UInt128 rest = x.High;
        ulong turns = 0;
        for (int left = x.Exponent + 4; left > 0;)
        {
            int step = Math.Min(left, 60);
            (var digit, rest) = UInt128.DivRem(rest << step, HalfPi66);
            turns = (turns << step) + (ulong)digit;
            left -= step;
        }
        bool isNegative = rest > HalfPi66 - rest;
        if (isNegative)
        {
            rest = HalfPi66 - rest;
            turns++;
        }
        angle = Unpacked.Normalized(isNegative, 60, rest);
        return (int)turns & 3;
    }

    static Unpacked SineOf(in Unpacked angle) =>
        WideMath.Multiply(angle, WideMath.Series(Sines, Square(angle), alternates: true));

    static Unpacked CosineOf(in Unpacked angle) => WideMath.Series(Cosines, Square(angle), alternates: true);

    static Unpacked TangentOf(in Unpacked angle)
    {
        // Below 2^-32, x + x³/3: the quotient's error could hide on which side of x the tangent is.
        if (angle.Exponent >= -32) return WideMath.Divide(SineOf(angle), CosineOf(angle));
        return WideMath.Multiply(angle, Unpacked.Normalized(false, 0, (UInt128.One << 127) + Square(angle) / 6));
    }

    /// <summary>The arctangent of low / high, both positive, the ratio at most 1.</summary>
    static Unpacked AngleOf(in Unpacked low, in Unpacked high)
    {
        int eighths = low.Exponent < high.Exponent - 5 ? 0 : NearestEighth(low, high);
        if (eighths == 0) return ArctangentOf(WideMath.Divide(low, high));

        var slope = WideMath.Multiply(Unpacked.FromInteger(eighths), One with { Exponent = -3 });
        var nearest = ArctangentsOfEighths[eighths - 1];
        var context = new FloatContext(FloatContext.DefaultMxcsr);
        var above = FloatMath.Subtract(low, WideMath.Multiply(high, slope), ref context);
        if (above.IsZero) return nearest;
        var across = WideMath.Add(high, WideMath.Multiply(low, slope));
        return WideMath.Add(nearest, ArctangentOf(WideMath.Divide(above, across)));
    }

    static int NearestEighth(in Unpacked low, in Unpacked high)
    {
        ulong scaled = low.High >> 4 + high.Exponent - low.Exponent;
        ulong unit = high.High >> 7;
        return (int)((scaled + unit / 2) / unit);
    }

    static Unpacked ArctangentOf(in Unpacked t) =>
        WideMath.Multiply(t, WideMath.Series(Odds, Square(t), alternates: true));

    /// <summary>log2 of (1 + s) / (1 − s) with s = numerator / denominator: 2/ln 2 (s + s³/3 + s⁵/5 + ...).</summary>
    static Unpacked LogarithmOfRatio(in Unpacked numerator, in Unpacked denominator)
    {
        var s = WideMath.Divide(numerator, denominator);
        var half = WideMath.Multiply(s, WideMath.Series(Odds, Square(s), alternates: false));
        return WideMath.Multiply(half, Log2OfE with { Exponent = 1 });
    }

    static UInt128 Square(in Unpacked value) => WideMath.ToFraction(WideMath.Multiply(value, value));

    static Unpacked Positive(in Unpacked value) => value with { IsNegative = false, IsDenormal = false };

    static Unpacked Inexact(in Unpacked value) =>
        value with { Significand = value.Significand | 1, IsDenormal = false };

    static Unpacked Constant(int exponent, ulong high, ulong low) =>
        new(FloatClass.Finite, false, exponent, new UInt128(high, low));

    static UInt128[] Inverses(int count, Func<int, UInt128> denominator) =>
        [.. Enumerable.Range(0, count).Select(i => (UInt128.One << 127) / denominator(i))];

    static UInt128 Factorial(int n) => n < 2 ? 1 : (UInt128)n * Factorial(n - 1);
}
