using System.Runtime.CompilerServices;
using static System.BitConverter;

namespace VmLab.X86.Floating;

/// <summary>Single precision as SSE computes it (ADDSS and its kin), on raw bits; see <see cref="Binary64"/>.</summary>
/// <remarks>
/// Products, quotients and roots are proven exact in double precision, sums by 2Sum. Source: Intel SDM vol. 1 §10.4.1;
/// RCPSS and RSQRTSS: vol. 2, whose bound is a relative error of 1.5 × 2^-12.
/// </remarks>
public readonly struct Binary32 : IScalarFormat<uint>
{
    const uint FractionBits = (1u << 23) - 1;

    // Results within these biased exponents are normal, whichever way they were rounded.
    const int LeastSafe = 2, MostSafe = 0xFD;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Add(uint a, uint b, ref FloatContext context)
    {
        uint result = SingleToUInt32Bits(UInt32BitsToSingle(a) + UInt32BitsToSingle(b));
        return CanTake(a, b, result, context) ? result : AddSlowly(a, b, ref context);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Subtract(uint a, uint b, ref FloatContext context)
    {
        uint result = SingleToUInt32Bits(UInt32BitsToSingle(a) - UInt32BitsToSingle(b));
        return CanTake(a, b, result, context) ? result : SubtractSlowly(a, b, ref context);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Multiply(uint a, uint b, ref FloatContext context)
    {
        uint result = SingleToUInt32Bits(UInt32BitsToSingle(a) * UInt32BitsToSingle(b));
        return CanTake(a, b, result, context) ? result : MultiplySlowly(a, b, ref context);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Divide(uint a, uint b, ref FloatContext context)
    {
        uint result = SingleToUInt32Bits(UInt32BitsToSingle(a) / UInt32BitsToSingle(b));
        return CanTake(a, b, result, context) ? result : DivideSlowly(a, b, ref context);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint SquareRoot(uint a, ref FloatContext context)
    {
        uint result = SingleToUInt32Bits(MathF.Sqrt(UInt32BitsToSingle(a)));
        return CanTake(a, a, result, context) ? result : SquareRootSlowly(a, ref context);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Min(uint a, uint b, ref FloatContext context) =>
        IsPlain(a) && IsPlain(b)
            ? UInt32BitsToSingle(a) < UInt32BitsToSingle(b) ? a : b
            : (uint)ScalarMath.Pick(FloatRelation.Less, a, b, FloatFormat.Single, ref context);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Max(uint a, uint b, ref FloatContext context) =>
        IsPlain(a) && IsPlain(b)
            ? UInt32BitsToSingle(a) > UInt32BitsToSingle(b) ? a : b
            : (uint)ScalarMath.Pick(FloatRelation.Greater, a, b, FloatFormat.Single, ref context);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FloatRelation CompareOrdered(uint a, uint b, ref FloatContext context) =>
        IsPlain(a) && IsPlain(b)
            ? Relation(a, b)
            : ScalarMath.Compare(a, b, isQuiet: false, FloatFormat.Single, ref context);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FloatRelation CompareUnordered(uint a, uint b, ref FloatContext context) =>
        IsPlain(a) && IsPlain(b)
            ? Relation(a, b)
            : ScalarMath.Compare(a, b, isQuiet: true, FloatFormat.Single, ref context);

    public static bool Satisfies(FloatPredicate predicate, uint a, uint b, ref FloatContext context) =>
        IsPlain(a) && IsPlain(b)
            ? ScalarMath.Holds(predicate, Relation(a, b))
            : ScalarMath.Satisfies(predicate, a, b, FloatFormat.Single, ref context);

    public static uint RoundToInteger(uint a, byte control, ref FloatContext context) =>
        (uint)ScalarMath.RoundToInteger(a, control, FloatFormat.Single, ref context);

    public static int ToInt32(uint a, ref FloatContext context) =>
        (int)ScalarMath.ToInteger(a, 32, context.Rounding, FloatFormat.Single, ref context);

    public static long ToInt64(uint a, ref FloatContext context) =>
        ScalarMath.ToInteger(a, 64, context.Rounding, FloatFormat.Single, ref context);

    public static int ToInt32Truncated(uint a, ref FloatContext context) =>
        IsPlain(a)
            ? Binary64.ToInt32Truncated(DoubleToUInt64Bits(UInt32BitsToSingle(a)), ref context)
            : (int)ScalarMath.ToInteger(a, 32, RoundingMode.TowardZero, FloatFormat.Single, ref context);

    public static long ToInt64Truncated(uint a, ref FloatContext context) =>
        IsPlain(a)
            ? Binary64.ToInt64Truncated(DoubleToUInt64Bits(UInt32BitsToSingle(a)), ref context)
            : ScalarMath.ToInteger(a, 64, RoundingMode.TowardZero, FloatFormat.Single, ref context);

    public static uint FromInt32(int value, ref FloatContext context) => FromInt64(value, ref context);

    public static uint FromInt64(long value, ref FloatContext context) =>
        Math.Abs((double)value) <= FractionBits
            ? SingleToUInt32Bits(value)
            : (uint)ScalarMath.FromInteger(value, FloatFormat.Single, ref context);

    /// <summary>
    /// RCPSS: 1/a rounded to a significand of 12 bits, ties to even. It raises nothing and heeds no mode.
    /// </summary>
    /// <remarks>
    /// Intel and AMD give different bits within the bound; these are VmLab's own, on every host. A denormal operand is
    /// a zero, and so is a result that would be denormal.
    /// </remarks>
    public static uint Reciprocal(uint a) => Approximate(a, isRoot: false);

    /// <summary>
    /// RSQRTSS: 1/√a rounded as <see cref="Reciprocal"/> is; a negative number gives the indefinite NaN.
    /// </summary>
    public static uint ReciprocalSquareRoot(uint a) => Approximate(a, isRoot: true);

    /// <summary>Neither a NaN nor denormal.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool IsPlain(uint bits) => IsNotDenormal(bits) && bits << 1 <= 0xFFu << 24;

    /// <summary>Normal, and not at either end of the range.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool IsSafe(uint bits) => (bits >> 23 & 0xFF) - LeastSafe <= MostSafe - LeastSafe;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static bool CanTake(uint a, uint b, uint result, in FloatContext context) =>
        context.IgnoresInexact && IsSafe(result) && IsNotDenormal(a) && IsNotDenormal(b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static bool IsNotDenormal(uint bits) => (bits << 1) - 1 >= FractionBits << 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static FloatRelation Relation(uint a, uint b)
    {
        float left = UInt32BitsToSingle(a), right = UInt32BitsToSingle(b);
        return left < right ? FloatRelation.Less : left > right ? FloatRelation.Greater : FloatRelation.Equal;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static uint AddSlowly(uint a, uint b, ref FloatContext context)
    {
        float x = UInt32BitsToSingle(a), y = UInt32BitsToSingle(b), sum = x + y;
        float part = sum - x;
        return TakeProven(a, b, sum, sum == 0, x - (sum - part) + (y - part) == 0, ref context)
            ? SingleToUInt32Bits(sum)
            : (uint)ScalarMath.Compute(ScalarMath.Operation.Add, a, b, FloatFormat.Single, ref context);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static uint SubtractSlowly(uint a, uint b, ref FloatContext context)
    {
        float x = UInt32BitsToSingle(a), y = UInt32BitsToSingle(b), difference = x - y;
        float part = difference - x;
        return TakeProven(a, b, difference, difference == 0, x - (difference - part) - (y + part) == 0, ref context)
            ? SingleToUInt32Bits(difference)
            : (uint)ScalarMath.Compute(ScalarMath.Operation.Subtract, a, b, FloatFormat.Single, ref context);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static uint MultiplySlowly(uint a, uint b, ref FloatContext context)
    {
        float x = UInt32BitsToSingle(a), y = UInt32BitsToSingle(b), product = x * y;
        return TakeProven(a, b, product, x == 0 || y == 0, (double)x * y == product, ref context)
            ? SingleToUInt32Bits(product)
            : (uint)ScalarMath.Compute(ScalarMath.Operation.Multiply, a, b, FloatFormat.Single, ref context);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static uint DivideSlowly(uint a, uint b, ref FloatContext context)
    {
        float x = UInt32BitsToSingle(a), y = UInt32BitsToSingle(b), quotient = x / y;
        return TakeProven(a, b, quotient, x == 0, (double)quotient * y == x, ref context)
            ? SingleToUInt32Bits(quotient)
            : (uint)ScalarMath.Compute(ScalarMath.Operation.Divide, a, b, FloatFormat.Single, ref context);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static uint SquareRootSlowly(uint a, ref FloatContext context)
    {
        float x = UInt32BitsToSingle(a), root = MathF.Sqrt(x);
        return TakeProven(a, a, root, x == 0, (double)root * root == x, ref context)
            ? SingleToUInt32Bits(root)
            : (uint)ScalarMath.SquareRoot(a, FloatFormat.Single, ref context);
    }

    /// <summary>Whether the host's result is the guest's; if so, and it is inexact, that is raised.</summary>
    /// <param name="isExactZero">A result of zero is no underflow.</param>
    static bool TakeProven(uint a, uint b, float result, bool isExactZero, bool isExact, ref FloatContext context)
    {
        if ((context.Control & FloatContext.RoundingBits) != 0) return false;
        if (!IsSafe(SingleToUInt32Bits(result)) && !(isExactZero && result == 0)) return false;
        if (!IsNotDenormal(a) || !IsNotDenormal(b)) return false;
        if (!isExact && result != 0) context.Raise(FloatExceptions.Inexact);
        return true;
    }

    static uint Approximate(uint a, bool isRoot)
    {
        var operand = FloatFormat.Single.Unpack(a, denormalsAreZero: true);
        if (operand.IsNan) return (uint)FloatFormat.Single.Pack(operand.Quieted());

        // Twelve bits of precision in single's range, tiny results flushed; what it raises is forgotten.
        var context = new FloatContext(FloatContext.DefaultMxcsr | FloatContext.FlushToZeroBit);
        var one = Unpacked.FromInteger(1);
        var quotient = isRoot && !operand.IsZero
            ? InverseRoot(operand, ref context)
            : FloatMath.Divide(one, operand, ref context);
        var rounded = FloatRounding.Round(quotient, FloatFormat.Single with { Precision = 12 }, ref context);
        return (uint)FloatFormat.Single.Pack(rounded);
    }

    // √(1/a), not 1/√a: the quotient's 64 bits leave the root right to far more than twelve.
    static Unpacked InverseRoot(in Unpacked operand, ref FloatContext context)
    {
        if (operand.IsNegative) return FloatMath.Invalid(ref context);
        var inverse = FloatMath.Divide(Unpacked.FromInteger(1), operand, ref context);
        return FloatMath.SquareRoot(inverse, ref context);
    }
}
