using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using VmLab.X86.Floating;

namespace VmLab.X86;

/// <summary>An operation on a pair of numbers.</summary>
interface INumbers
{
    static abstract TBits Apply<TBits, TFormat>(TBits a, TBits b, byte control, ref FloatContext context)
        where TBits : unmanaged, IBinaryInteger<TBits>
        where TFormat : IScalarFormat<TBits>;

    /// <summary>The host can do it; see <see cref="UsualCase"/>.</summary>
    static virtual bool HasUsual => false;

    /// <summary>What the host makes of it.</summary>
    static virtual Vector128<T> OnHost<T>(Vector128<T> a, Vector128<T> b) => default;

    /// <summary>The places where a result of zero is exact.</summary>
    static virtual Vector128<T> ExactZeros<T>(Vector128<T> a, Vector128<T> b) => Vector128<T>.AllBitsSet;
}

/// <summary>The operations on pairs of numbers; those on one number take the second.</summary>
static class Arithmetic
{
    const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public struct Add : INumbers
    {
        [MethodImpl(Inline)]
        public static TBits Apply<TBits, TFormat>(TBits a, TBits b, byte control, ref FloatContext context)
            where TBits : unmanaged, IBinaryInteger<TBits>
            where TFormat : IScalarFormat<TBits> => TFormat.Add(a, b, ref context);

        public static bool HasUsual => true;

        [MethodImpl(Inline)]
        public static Vector128<T> OnHost<T>(Vector128<T> a, Vector128<T> b) => a + b;
    }

    public struct Subtract : INumbers
    {
        [MethodImpl(Inline)]
        public static TBits Apply<TBits, TFormat>(TBits a, TBits b, byte control, ref FloatContext context)
            where TBits : unmanaged, IBinaryInteger<TBits>
            where TFormat : IScalarFormat<TBits> => TFormat.Subtract(a, b, ref context);

        public static bool HasUsual => true;

        [MethodImpl(Inline)]
        public static Vector128<T> OnHost<T>(Vector128<T> a, Vector128<T> b) => a - b;
    }

    public struct Multiply : INumbers
    {
        [MethodImpl(Inline)]
        public static TBits Apply<TBits, TFormat>(TBits a, TBits b, byte control, ref FloatContext context)
            where TBits : unmanaged, IBinaryInteger<TBits>
            where TFormat : IScalarFormat<TBits> => TFormat.Multiply(a, b, ref context);

        public static bool HasUsual => true;

        [MethodImpl(Inline)]
        public static Vector128<T> OnHost<T>(Vector128<T> a, Vector128<T> b) => a * b;

        [MethodImpl(Inline)]
        public static Vector128<T> ExactZeros<T>(Vector128<T> a, Vector128<T> b) =>
            Vector128.Equals(a, Vector128<T>.Zero) | Vector128.Equals(b, Vector128<T>.Zero);
    }

    public struct Divide : INumbers
    {
        [MethodImpl(Inline)]
        public static TBits Apply<TBits, TFormat>(TBits a, TBits b, byte control, ref FloatContext context)
            where TBits : unmanaged, IBinaryInteger<TBits>
            where TFormat : IScalarFormat<TBits> => TFormat.Divide(a, b, ref context);

        public static bool HasUsual => true;

        [MethodImpl(Inline)]
        public static Vector128<T> OnHost<T>(Vector128<T> a, Vector128<T> b) => a / b;

        [MethodImpl(Inline)]
        public static Vector128<T> ExactZeros<T>(Vector128<T> a, Vector128<T> b) =>
            Vector128.Equals(a, Vector128<T>.Zero);
    }

    public struct Min : INumbers
    {
        [MethodImpl(Inline)]
        public static TBits Apply<TBits, TFormat>(TBits a, TBits b, byte control, ref FloatContext context)
            where TBits : unmanaged, IBinaryInteger<TBits>
            where TFormat : IScalarFormat<TBits> => TFormat.Min(a, b, ref context);
    }

    public struct Max : INumbers
    {
        [MethodImpl(Inline)]
        public static TBits Apply<TBits, TFormat>(TBits a, TBits b, byte control, ref FloatContext context)
            where TBits : unmanaged, IBinaryInteger<TBits>
            where TFormat : IScalarFormat<TBits> => TFormat.Max(a, b, ref context);
    }

    public struct SquareRoot : INumbers
    {
        [MethodImpl(Inline)]
        public static TBits Apply<TBits, TFormat>(TBits a, TBits b, byte control, ref FloatContext context)
            where TBits : unmanaged, IBinaryInteger<TBits>
            where TFormat : IScalarFormat<TBits> => TFormat.SquareRoot(b, ref context);

        public static bool HasUsual => true;

        [MethodImpl(Inline)]
        public static Vector128<T> OnHost<T>(Vector128<T> a, Vector128<T> b) => Vector128.Sqrt(b);
    }

    /// <summary>ROUNDSS and its kin.</summary>
    public struct Round : INumbers
    {
        [MethodImpl(Inline)]
        public static TBits Apply<TBits, TFormat>(TBits a, TBits b, byte control, ref FloatContext context)
            where TBits : unmanaged, IBinaryInteger<TBits>
            where TFormat : IScalarFormat<TBits> => TFormat.RoundToInteger(b, control, ref context);
    }

    /// <summary>CMPSS and its kin: all ones where the control's predicate holds.</summary>
    public struct Compare : INumbers
    {
        [MethodImpl(Inline)]
        public static TBits Apply<TBits, TFormat>(TBits a, TBits b, byte control, ref FloatContext context)
            where TBits : unmanaged, IBinaryInteger<TBits>
            where TFormat : IScalarFormat<TBits> =>
            TFormat.Satisfies((FloatPredicate)(control & 7), a, b, ref context) ? TBits.AllBitsSet : TBits.Zero;
    }
}

/// <summary>
/// Arithmetic as it mostly is: numbers neither denormal nor tiny, rounded to nearest, "inexact" masked and flagged
/// already. Then the host's results are the guest's, and MXCSR stays as it is.
/// </summary>
static class UsualCase
{
    const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    // Normal numbers begin here; and whatever rounds to four times as much was not tiny, however it was rounded.
    const float LeastSingle = 1.17549435E-38f;
    const double LeastDouble = 2.2250738585072014E-308;

    /// <summary>For elements of 32 bits, single precision; of 64, double.</summary>
    /// <param name="isScalar">Only the lowest elements count.</param>
    [MethodImpl(Inline)]
    public static bool TryApply<TBits, TOp>(
        Vector128<TBits> a, Vector128<TBits> b, bool isScalar, out Vector128<TBits> result)
        where TOp : INumbers
    {
        Vector128<TBits> isUsual;
        if (typeof(TBits) == typeof(uint))
        {
            Vector128<float> x = a.As<TBits, float>(), y = b.As<TBits, float>(), r = TOp.OnHost(x, y);
            isUsual = Check<float, TOp>(x, y, r, LeastSingle, 4 * LeastSingle, float.MaxValue).As<float, TBits>();
            result = r.As<float, TBits>();
        }
        else
        {
            Vector128<double> x = a.As<TBits, double>(), y = b.As<TBits, double>(), r = TOp.OnHost(x, y);
            isUsual = Check<double, TOp>(x, y, r, LeastDouble, 4 * LeastDouble, double.MaxValue).As<double, TBits>();
            result = r.As<double, TBits>();
        }
        return isScalar ? (isUsual.ExtractMostSignificantBits() & 1) != 0 : isUsual == Vector128<TBits>.AllBitsSet;
    }

    /// <returns>Ones where the case is usual.</returns>
    [MethodImpl(Inline)]
    static Vector128<T> Check<T, TOp>(Vector128<T> a, Vector128<T> b, Vector128<T> result, T least, T safe, T most)
        where TOp : INumbers
    {
        Vector128<T> size = Vector128.Abs(result);
        Vector128<T> isSafe = Vector128.GreaterThanOrEqual(size, Vector128.Create(safe))
            & Vector128.LessThanOrEqual(size, Vector128.Create(most));
        isSafe |= Vector128.Equals(result, Vector128<T>.Zero) & TOp.ExactZeros(a, b);
        return isSafe & IsNotDenormal(a, least) & IsNotDenormal(b, least);
    }

    [MethodImpl(Inline)]
    static Vector128<T> IsNotDenormal<T>(Vector128<T> value, T least) =>
        Vector128.GreaterThanOrEqual(Vector128.Abs(value), Vector128.Create(least))
        | Vector128.Equals(value, Vector128<T>.Zero);
}
