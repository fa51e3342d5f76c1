using System.Runtime.CompilerServices;

namespace VmLab.X86.Floating;

/// <summary>
/// Arithmetic on numbers taken apart, exact but for a sticky lowest bit; NaNs are the caller's, and so is the rounding.
/// </summary>
/// <remarks>
/// Operands have significands of 64 bits. Invalid, zero-divide and denormal-operand exceptions are raised here, in the
/// order of precedence that the manual gives. Source: IEEE 754-2008 §5.4.1, §6.1, §6.3, §7.2, §7.3; Intel SDM vol. 1
/// §4.9.2, §8.5.
/// </remarks>
static class FloatMath
{
    public static Unpacked Add(in Unpacked a, in Unpacked b, ref FloatContext context)
    {
        if (a.IsInfinity && b.IsInfinity && a.IsNegative != b.IsNegative) return Invalid(ref context);
        RaiseDenormal(a, b, ref context);
        if (a.IsInfinity) return a;
        if (b.IsInfinity) return b;
        if (a.IsZero && b.IsZero) return a.IsNegative == b.IsNegative ? a : ZeroOfDifference(context);
        if (a.IsZero) return b;
        if (b.IsZero) return a;
        return a.Exponent >= b.Exponent ? Sum(a, b, context) : Sum(b, a, context);
    }

    public static Unpacked Subtract(in Unpacked a, in Unpacked b, ref FloatContext context) =>
        Add(a, b.Negated(), ref context);

    public static Unpacked Multiply(in Unpacked a, in Unpacked b, ref FloatContext context)
    {
        bool isNegative = a.IsNegative != b.IsNegative;
        if (a.IsInfinity && b.IsZero || a.IsZero && b.IsInfinity) return Invalid(ref context);
        RaiseDenormal(a, b, ref context);
        if (a.IsInfinity || b.IsInfinity) return Unpacked.Infinity(isNegative);
        if (a.IsZero || b.IsZero) return Unpacked.Zero(isNegative);

        // The product of two numbers from 1 up to 2 has its leading bit at 2^1 or 2^0.
        ulong high = Math.BigMul(a.High, b.High, out ulong low);
        return Unpacked.Normalized(isNegative, a.Exponent + b.Exponent + 1, new UInt128(high, low));
    }

    public static Unpacked Divide(in Unpacked a, in Unpacked b, ref FloatContext context)
    {
        bool isNegative = a.IsNegative != b.IsNegative;
        if (a.IsInfinity && b.IsInfinity || a.IsZero && b.IsZero) return Invalid(ref context);
        if (b.IsZero && a.IsFinite)
        {
            context.Raise(FloatExceptions.ZeroDivide);
            return Unpacked.Infinity(isNegative);
        }

        RaiseDenormal(a, b, ref context);
        if (a.IsInfinity || b.IsZero) return Unpacked.Infinity(isNegative);
        if (a.IsZero || b.IsInfinity) return Unpacked.Zero(isNegative);

        // Two digits of a long division in base 2^64, once the dividend is below the divisor; then the sticky bit.
        int isAbove = a.High >= b.High ? 1 : 0;
        var (first, remainder) = DivideWide(a.Significand >> isAbove, b.High);
        var (second, rest) = DivideWide(new UInt128(remainder, 0), b.High);
        var quotient = new UInt128(first, second | (rest != 0 ? 1UL : 0));
        return Unpacked.Normalized(isNegative, a.Exponent - b.Exponent - 1 + isAbove, quotient);
    }

    public static Unpacked SquareRoot(in Unpacked a, ref FloatContext context)
    {
        if (a.IsZero) return a;
        if (a.IsNegative) return Invalid(ref context);
        RaiseDenormal(a, a, ref context);
        if (a.IsInfinity) return a;

        // With an even exponent the root's is half of it.
        int isOdd = a.Exponent & 1;
        return Unpacked.Normalized(false, a.Exponent - isOdd >> 1, RootOf(a.Significand >> 1 - isOdd));
    }

    /// <summary>Compares two numbers, neither a NaN; zeros of either sign are equal.</summary>
    public static FloatRelation Compare(in Unpacked a, in Unpacked b, ref FloatContext context)
    {
        RaiseDenormal(a, b, ref context);
        if (a.IsZero && b.IsZero) return FloatRelation.Equal;
        if (a.IsZero) return b.IsNegative ? FloatRelation.Greater : FloatRelation.Less;
        if (b.IsZero || a.IsNegative != b.IsNegative) return a.IsNegative ? FloatRelation.Less : FloatRelation.Greater;

        int order = CompareMagnitude(a, b);
        if (order == 0) return FloatRelation.Equal;
        return order < 0 == a.IsNegative ? FloatRelation.Greater : FloatRelation.Less;
    }

    /// <summary>The order of |a| and |b|, neither zero nor a NaN: negative, zero or positive.</summary>
    public static int CompareMagnitude(in Unpacked a, in Unpacked b)
    {
        if (a.IsInfinity || b.IsInfinity) return a.IsInfinity.CompareTo(b.IsInfinity);
        int order = a.Exponent.CompareTo(b.Exponent);
        return order != 0 ? order : a.Significand.CompareTo(b.Significand);
    }

    public static Unpacked Invalid(ref FloatContext context)
    {
        context.Raise(FloatExceptions.Invalid);
        return Unpacked.Indefinite;
    }

    public static void RaiseDenormal(in Unpacked a, in Unpacked b, ref FloatContext context)
    {
        if (a.IsDenormal || b.IsDenormal) context.Raise(FloatExceptions.Denormal);
    }

    /// <summary>Shifts right; whatever falls out stays as a set lowest bit.</summary>
    public static UInt128 ShiftRightSticky(UInt128 value, int count)
    {
        if (count <= 0) return value;
        if (count > 127) return value != 0 ? 1u : 0u;
        var shifted = value >> count;
        return shifted << count == value ? shifted : shifted | 1u;
    }

    /// <summary>The sum of two finite numbers, the first of no smaller exponent.</summary>
    static Unpacked Sum(in Unpacked a, in Unpacked b, in FloatContext context)
    {
        // One bit of room for the carry.
        var large = a.Significand >> 1;
        var small = ShiftRightSticky(b.Significand, a.Exponent - b.Exponent + 1);
        if (a.IsNegative == b.IsNegative) return Unpacked.Normalized(a.IsNegative, a.Exponent + 1, large + small);
        if (large == small) return ZeroOfDifference(context);
        return large > small
            ? Unpacked.Normalized(a.IsNegative, a.Exponent + 1, large - small)
            : Unpacked.Normalized(b.IsNegative, a.Exponent + 1, small - large);
    }

    static Unpacked ZeroOfDifference(in FloatContext context) =>
        Unpacked.Zero(context.Rounding == RoundingMode.Down);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static (ulong Quotient, ulong Remainder) DivideWide(UInt128 dividend, ulong divisor)
    {
        ulong quotient = (ulong)(dividend / divisor);
        return (quotient, (ulong)dividend - quotient * divisor);
    }

    /// <summary>
    /// The square root of a number in [1/4, 1), both as fractions of 2^128: 64 bits, half a bit, and sticky.
    /// </summary>
    static UInt128 RootOf(UInt128 square)
    {
        ulong root = IntegerRoot(square);
        var remainder = square - (UInt128)root * root;
        if (remainder == 0) return (UInt128)root << 64;

        // (root + 1/2)² is root² + root + 1/4: the rest of the root is above one half if the remainder is above the
        // root.
        return new UInt128(root, remainder > root ? 1UL << 63 | 1 : 1);
    }

    /// <summary>The largest integer whose square is not above a number of at least 2^126.</summary>
    static ulong IntegerRoot(UInt128 square)
    {
        // The host's root has 52 good bits; one step of Newton's gives the others, but for a unit.
        double estimate = Math.Sqrt((ulong)(square >> 64)) * 4294967296.0;
        ulong first = estimate >= 18446744073709551615.0 ? ulong.MaxValue : (ulong)estimate;
        var next = ((UInt128)first + square / first) >> 1;
        ulong root = next > ulong.MaxValue ? ulong.MaxValue : (ulong)next;
        while ((UInt128)root * root > square) root--;
        while (root != ulong.MaxValue && (UInt128)(root + 1) * (root + 1) <= square) root++;
        return root;
    }
}
