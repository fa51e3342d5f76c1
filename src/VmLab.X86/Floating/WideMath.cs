namespace VmLab.X86.Floating;

/// <summary>Arithmetic with significands of 128 bits, for the functions that have no exact results.</summary>
/// <remarks>
/// Results are truncated and may be short by a few units of the last place: 2^-125 of the value, against the 2^-64 that
/// rounding cares for. Operands are finite and not zero. Source: Knuth, TAOCP vol. 2 §4.3.1 (division, algorithm D).
/// </remarks>
static class WideMath
{
    public static Unpacked Multiply(in Unpacked a, in Unpacked b) => Unpacked.Normalized(
        a.IsNegative != b.IsNegative, a.Exponent + b.Exponent + 1, MultiplyHigh(a.Significand, b.Significand));

    public static Unpacked Divide(in Unpacked a, in Unpacked b)
    {
        int isAbove = a.Significand >= b.Significand ? 1 : 0;
        var (high, remainder) = NextDigit(a.Significand >> isAbove, b.Significand);
        var (low, _) = NextDigit(remainder, b.Significand);
        return Unpacked.Normalized(
            a.IsNegative != b.IsNegative, a.Exponent - b.Exponent - 1 + isAbove, new UInt128(high, low));
    }

    public static Unpacked Add(in Unpacked a, in Unpacked b)
    {
        var context = new FloatContext(FloatContext.DefaultMxcsr);
        return FloatMath.Add(a, b, ref context);
    }

    /// <summary>The upper half of a product of 256 bits.</summary>
    public static UInt128 MultiplyHigh(UInt128 a, UInt128 b)
    {
        ulong aHigh = (ulong)(a >> 64), aLow = (ulong)a, bHigh = (ulong)(b >> 64), bLow = (ulong)b;
        ulong lowest = Math.BigMul(aLow, bLow, out _);
        UInt128 first = Product(aHigh, bLow), second = Product(aLow, bHigh);
        var middle = (UInt128)lowest + (ulong)first + (ulong)second;
        return Product(aHigh, bHigh) + (first >> 64) + (second >> 64) + (middle >> 64);
    }

    /// <summary>The magnitude of a number below one, as a fraction of 2^128.</summary>
    public static UInt128 ToFraction(in Unpacked value) =>
        value.Exponent < -128 ? 0 : value.Significand >> -1 - value.Exponent;

    /// <summary>
    /// Adds up c0 + c1 z + c2 z² + ..., or with alternating signs; every partial sum is positive and below two.
    /// </summary>
    /// <param name="coefficients">In units of 2^-127.</param>
    /// <param name="z">A fraction of 2^128.</param>
    /// <returns>In units of 2^-127; it is below the exact sum, even when that is c0 but for less than a unit.</returns>
    public static Unpacked Series(ReadOnlySpan<UInt128> coefficients, UInt128 z, bool alternates)
    {
        var sum = coefficients[^1];
        for (int i = coefficients.Length - 2; i >= 0; i--)
        {
            var rest = MultiplyHigh(sum, z);
            sum = alternates ? coefficients[i] - rest - 1 : coefficients[i] + rest;
        }
        return Unpacked.Normalized(false, 0, sum);
    }

    static UInt128 Product(ulong a, ulong b)
    {
        ulong high = Math.BigMul(a, b, out ulong low);
        return new(high, low);
    }

    /// <summary>One digit, in base 2^64, of a quotient below one.</summary>
    static (ulong Digit, UInt128 Remainder) NextDigit(UInt128 dividend, UInt128 divisor)
    {
        ulong high = (ulong)(divisor >> 64), low = (ulong)divisor;
        var digit = dividend / high;
        var rest = dividend - digit * high;
        while (digit > ulong.MaxValue || rest <= ulong.MaxValue && digit * low > rest << 64)
        {
            digit--;
            rest += high;
        }
        return ((ulong)digit, (rest << 64) - digit * low);
    }
}
