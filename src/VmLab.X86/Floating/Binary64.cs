using System.Runtime.CompilerServices;
using static System.BitConverter;

namespace VmLab.X86.Floating;

/// <summary>Double precision as SSE2 computes it (ADDSD and its kin), on raw bits.</summary>
/// <remarks>
/// Where rounding is nearest and operands and result are normal numbers, the host's own arithmetic is IEEE 754's, and
/// taken; the one flag such a result can raise is "inexact", which is proven by an exact residual unless it is set
/// already. Everything else goes through <see cref="ScalarMath"/>. Source: Intel SDM vol. 1 §11.4.1; residuals:
/// Handbook of Floating-Point Arithmetic, 2nd ed., §4.3 (2Sum) and §4.4 (division and square root with FMA).
/// </remarks>
public readonly struct Binary64 : IScalarFormat<ulong>
{
    const ulong FractionBits = (1UL << 52) - 1;

    // Results within these biased exponents are normal, and their residuals too.
    const int LeastSafe = 128, MostSafe = 0x7FD;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Add(ulong a, ulong b, ref FloatContext context)
    {
        double result = UInt64BitsToDouble(a) + UInt64BitsToDouble(b);
        return CanTake(a, b, result, context) ? DoubleToUInt64Bits(result) : AddSlowly(a, b, ref context);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Subtract(ulong a, ulong b, ref FloatContext context)
    {
        double result = UInt64BitsToDouble(a) - UInt64BitsToDouble(b);
        return CanTake(a, b, result, context) ? DoubleToUInt64Bits(result) : SubtractSlowly(a, b, ref context);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Multiply(ulong a, ulong b, ref FloatContext context)
    {
        double result = UInt64BitsToDouble(a) * UInt64BitsToDouble(b);
        return CanTake(a, b, result, context) ? DoubleToUInt64Bits(result) : MultiplySlowly(a, b, ref context);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Divide(ulong a, ulong b, ref FloatContext context)
    {
        double result = UInt64BitsToDouble(a) / UInt64BitsToDouble(b);
        return CanTake(a, b, result, context) ? DoubleToUInt64Bits(result) : DivideSlowly(a, b, ref context);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong SquareRoot(ulong a, ref FloatContext context)
    {
        double result = Math.Sqrt(UInt64BitsToDouble(a));
        return CanTake(a, a, result, context) ? DoubleToUInt64Bits(result) : SquareRootSlowly(a, ref context);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Min(ulong a, ulong b, ref FloatContext context) =>
        IsPlain(a) && IsPlain(b)
            ? UInt64BitsToDouble(a) < UInt64BitsToDouble(b) ? a : b
            : ScalarMath.Pick(FloatRelation.Less, a, b, FloatFormat.Double, ref context);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Max(ulong a, ulong b, ref FloatContext context) =>
        IsPlain(a) && IsPlain(b)
            ? UInt64BitsToDouble(a) > UInt64BitsToDouble(b) ? a : b
            : ScalarMath.Pick(FloatRelation.Greater, a, b, FloatFormat.Double, ref context);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FloatRelation CompareOrdered(ulong a, ulong b, ref FloatContext context) =>
        IsPlain(a) && IsPlain(b)
            ? Relation(a, b)
            : ScalarMath.Compare(a, b, isQuiet: false, FloatFormat.Double, ref context);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FloatRelation CompareUnordered(ulong a, ulong b, ref FloatContext context) =>
        IsPlain(a) && IsPlain(b)
            ? Relation(a, b)
            : ScalarMath.Compare(a, b, isQuiet: true, FloatFormat.Double, ref context);

    public static bool Satisfies(FloatPredicate predicate, ulong a, ulong b, ref FloatContext context) =>
        IsPlain(a) && IsPlain(b)
            ? ScalarMath.Holds(predicate, Relation(a, b))
            : ScalarMath.Satisfies(predicate, a, b, FloatFormat.Double, ref context);

    public static ulong RoundToInteger(ulong a, byte control, ref FloatContext context) =>
        ScalarMath.RoundToInteger(a, control, FloatFormat.Double, ref context);

    public static int ToInt32(ulong a, ref FloatContext context) =>
        (int)ScalarMath.ToInteger(a, 32, context.Rounding, FloatFormat.Double, ref context);

    public static long ToInt64(ulong a, ref FloatContext context) =>
        ScalarMath.ToInteger(a, 64, context.Rounding, FloatFormat.Double, ref context);

    public static int ToInt32Truncated(ulong a, ref FloatContext context)
    {
        double value = UInt64BitsToDouble(a);
        if (IsPlain(a) && Math.Abs(value) < 2147483648.0)
        {
            int truncated = (int)value;
            if (truncated != value) context.Raise(FloatExceptions.Inexact);
            return truncated;
        }
        return (int)ScalarMath.ToInteger(a, 32, RoundingMode.TowardZero, FloatFormat.Double, ref context);
    }

    public static long ToInt64Truncated(ulong a, ref FloatContext context)
    {
        double value = UInt64BitsToDouble(a);
        if (IsPlain(a) && Math.Abs(value) < 9223372036854775808.0)
        {
            long truncated = (long)value;
            if (truncated != value) context.Raise(FloatExceptions.Inexact);
            return truncated;
        }
        return ScalarMath.ToInteger(a, 64, RoundingMode.TowardZero, FloatFormat.Double, ref context);
    }

    /// <summary>CVTSI2SD: always exact.</summary>
    public static ulong FromInt32(int value, ref FloatContext context) => DoubleToUInt64Bits(value);

    public static ulong FromInt64(long value, ref FloatContext context) =>
        Math.Abs((double)value) <= FractionBits
            ? DoubleToUInt64Bits(value)
            : ScalarMath.FromInteger(value, FloatFormat.Double, ref context);

    /// <summary>CVTSS2SD.</summary>
    public static ulong FromBinary32(uint a, ref FloatContext context) =>
        Binary32.IsPlain(a)
            ? DoubleToUInt64Bits(UInt32BitsToSingle(a))
            : ScalarMath.Convert(a, FloatFormat.Single, FloatFormat.Double, ref context);

    /// <summary>CVTSD2SS.</summary>
    public static uint ToBinary32(ulong a, ref FloatContext context)
    {
        double value = UInt64BitsToDouble(a);
        float result = (float)value;
        uint bits = SingleToUInt32Bits(result);
        if ((context.Control & FloatContext.RoundingBits) == 0 && Binary32.IsSafe(bits) && IsPlain(a))
        {
            if (result != value) context.Raise(FloatExceptions.Inexact);
            return bits;
        }
        return (uint)ScalarMath.Convert(a, FloatFormat.Double, FloatFormat.Single, ref context);
    }

    /// <summary>Neither a NaN nor denormal.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool IsPlain(ulong bits) =>
        IsNotDenormal(bits) && bits << 1 <= 0x7FFUL << 53;

    /// <summary>Whether the host's result is the guest's, and all that it raises is raised already.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static bool CanTake(ulong a, ulong b, double result, in FloatContext context) =>
        context.IgnoresInexact && IsSafe(result) && IsNotDenormal(a) && IsNotDenormal(b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static bool IsSafe(double value) =>
        ((uint)(DoubleToUInt64Bits(value) >> 52) & 0x7FF) - LeastSafe <= MostSafe - LeastSafe;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static bool IsNotDenormal(ulong bits) => (bits << 1) - 1 >= FractionBits << 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static FloatRelation Relation(ulong a, ulong b)
    {
        double left = UInt64BitsToDouble(a), right = UInt64BitsToDouble(b);
        return left < right ? FloatRelation.Less : left > right ? FloatRelation.Greater : FloatRelation.Equal;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static ulong AddSlowly(ulong a, ulong b, ref FloatContext context)
    {
        double x = UInt64BitsToDouble(a), y = UInt64BitsToDouble(b), sum = x + y;
        double part = sum - x;
        return TakeProven(a, b, sum, sum == 0, x - (sum - part) + (y - part) == 0, ref context)
            ? DoubleToUInt64Bits(sum)
            : ScalarMath.Compute(ScalarMath.Operation.Add, a, b, FloatFormat.Double, ref context);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static ulong SubtractSlowly(ulong a, ulong b, ref FloatContext context)
    {
        double x = UInt64BitsToDouble(a), y = UInt64BitsToDouble(b), difference = x - y;
        double part = difference - x;
        return TakeProven(a, b, difference, difference == 0, x - (difference - part) - (y + part) == 0, ref context)
            ? DoubleToUInt64Bits(difference)
            : ScalarMath.Compute(ScalarMath.Operation.Subtract, a, b, FloatFormat.Double, ref context);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static ulong MultiplySlowly(ulong a, ulong b, ref FloatContext context)
    {
        double x = UInt64BitsToDouble(a), y = UInt64BitsToDouble(b), product = x * y;
        return TakeProven(a, b, product, x == 0 || y == 0, Math.FusedMultiplyAdd(x, y, -product) == 0, ref context)
            ? DoubleToUInt64Bits(product)
            : ScalarMath.Compute(ScalarMath.Operation.Multiply, a, b, FloatFormat.Double, ref context);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static ulong DivideSlowly(ulong a, ulong b, ref FloatContext context)
    {
        double x = UInt64BitsToDouble(a), y = UInt64BitsToDouble(b), quotient = x / y;
        bool isExact = Math.FusedMultiplyAdd(quotient, y, -x) == 0;
        return (x == 0 || IsSafe(x)) && TakeProven(a, b, quotient, x == 0, isExact, ref context)
            ? DoubleToUInt64Bits(quotient)
            : ScalarMath.Compute(ScalarMath.Operation.Divide, a, b, FloatFormat.Double, ref context);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static ulong SquareRootSlowly(ulong a, ref FloatContext context)
    {
        double x = UInt64BitsToDouble(a), root = Math.Sqrt(x);
        bool isExact = Math.FusedMultiplyAdd(root, root, -x) == 0;
        return (x == 0 || IsSafe(x)) && TakeProven(a, a, root, x == 0, isExact, ref context)
            ? DoubleToUInt64Bits(root)
            : ScalarMath.SquareRoot(a, FloatFormat.Double, ref context);
    }

    /// <summary>Whether the host's result is the guest's; if so, and it is inexact, that is raised.</summary>
    /// <param name="isExactZero">A result of zero is no underflow.</param>
    static bool TakeProven(ulong a, ulong b, double result, bool isExactZero, bool isExact, ref FloatContext context)
    {
        if ((context.Control & FloatContext.RoundingBits) != 0) return false;
        if (!IsSafe(result) && !(isExactZero && result == 0)) return false;
        if (!IsNotDenormal(a) || !IsNotDenormal(b)) return false;
        if (!isExact && result != 0) context.Raise(FloatExceptions.Inexact);
        return true;
    }
}
