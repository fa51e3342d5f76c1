using System.Numerics;

namespace VmLab.X86.Floating;

/// <summary>The element of an SSE register seen as a number: arithmetic on its raw bits.</summary>
/// <remarks>
/// Results are Intel's to the bit on every host. Each operation adds what it raises to the context; a packed
/// instruction computes all its elements with one context, then asks <see cref="FloatContext.Retire"/> whether it may
/// write them. Source: Intel SDM vol. 1 ch. 10 and 11; vol. 2 for the instruction named.
/// </remarks>
/// <typeparam name="TBits">uint or ulong: the element's bits.</typeparam>
public interface IScalarFormat<TBits> where TBits : unmanaged, IBinaryInteger<TBits>
{
    static abstract TBits Add(TBits a, TBits b, ref FloatContext context);
    static abstract TBits Subtract(TBits a, TBits b, ref FloatContext context);
    static abstract TBits Multiply(TBits a, TBits b, ref FloatContext context);
    static abstract TBits Divide(TBits a, TBits b, ref FloatContext context);
    static abstract TBits SquareRoot(TBits a, ref FloatContext context);

    /// <summary>MINSS: the second operand unless the first is less, so also for two zeros or a NaN.</summary>
    static abstract TBits Min(TBits a, TBits b, ref FloatContext context);

    /// <summary>MAXSS: the second operand unless the first is greater, so also for two zeros or a NaN.</summary>
    static abstract TBits Max(TBits a, TBits b, ref FloatContext context);

    /// <summary>COMISS: any NaN is invalid.</summary>
    static abstract FloatRelation CompareOrdered(TBits a, TBits b, ref FloatContext context);

    /// <summary>UCOMISS: only a signaling NaN is invalid.</summary>
    static abstract FloatRelation CompareUnordered(TBits a, TBits b, ref FloatContext context);

    /// <summary>CMPSS: whether the predicate holds; the instruction writes all ones or all zeros.</summary>
    static abstract bool Satisfies(FloatPredicate predicate, TBits a, TBits b, ref FloatContext context);

    /// <summary>ROUNDSS: rounds to an integer in the same format.</summary>
    /// <param name="control">
    /// The immediate: bits 1:0 the mode, bit 2 MXCSR's mode instead, bit 3 no inexact exception.
    /// </param>
    static abstract TBits RoundToInteger(TBits a, byte control, ref FloatContext context);

    /// <summary>CVTSS2SI; a NaN or what does not fit is invalid and gives 0x80000000.</summary>
    static abstract int ToInt32(TBits a, ref FloatContext context);

    /// <summary>CVTSS2SI with REX.W; a NaN or what does not fit is invalid and gives 0x8000000000000000.</summary>
    static abstract long ToInt64(TBits a, ref FloatContext context);

    /// <summary>CVTTSS2SI: as <see cref="ToInt32"/>, toward zero.</summary>
    static abstract int ToInt32Truncated(TBits a, ref FloatContext context);

    /// <summary>CVTTSS2SI with REX.W: as <see cref="ToInt64"/>, toward zero.</summary>
    static abstract long ToInt64Truncated(TBits a, ref FloatContext context);

    static abstract TBits FromInt32(int value, ref FloatContext context);
    static abstract TBits FromInt64(long value, ref FloatContext context);
}
