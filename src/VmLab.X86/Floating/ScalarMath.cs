namespace VmLab.X86.Floating;

/// <summary>SSE arithmetic on the raw bits of either format: every case, at leisure.</summary>
/// <remarks>
/// Order of precedence: a NaN operand, then invalid or zero-divide, then denormal operand, then the exceptions of the
/// result. Source: Intel SDM vol. 1 §4.8.3.5, table 4-7 (NaN results), §11.5.2 and §4.9.2 (precedence).
/// </remarks>
static class ScalarMath
{
    public enum Operation : byte { Add, Subtract, Multiply, Divide }

    public static ulong Compute(Operation operation, ulong a, ulong b, FloatFormat format, ref FloatContext context)
    {
        var first = format.Unpack(a, context.DenormalsAreZero);
        var second = format.Unpack(b, context.DenormalsAreZero);
        if (first.IsNan || second.IsNan) return format.Pack(Propagate(first, second, ref context));

        var exact = operation switch
        {
            Operation.Add => FloatMath.Add(first, second, ref context),
            Operation.Subtract => FloatMath.Subtract(first, second, ref context),
            Operation.Multiply => FloatMath.Multiply(first, second, ref context),
            _ => FloatMath.Divide(first, second, ref context),
        };
        return Round(exact, format, ref context);
    }

    public static ulong SquareRoot(ulong a, FloatFormat format, ref FloatContext context)
    {
        var operand = format.Unpack(a, context.DenormalsAreZero);
        return operand.IsNan
            ? format.Pack(Propagate(operand, operand, ref context))
            : Round(FloatMath.SquareRoot(operand, ref context), format, ref context);
    }

    /// <summary>Picks an operand by comparison; a NaN, or equality, picks the second, as it is.</summary>
    public static ulong Pick(FloatRelation first, ulong a, ulong b, FloatFormat format, ref FloatContext context)
    {
        var left = format.Unpack(a, context.DenormalsAreZero);
        var right = format.Unpack(b, context.DenormalsAreZero);
        return format.Pack(Compare(left, right, isQuiet: false, ref context) == first ? left : right);
    }

    public static FloatRelation Compare(ulong a, ulong b, bool isQuiet, FloatFormat format, ref FloatContext context) =>
        Compare(
            format.Unpack(a, context.DenormalsAreZero), format.Unpack(b, context.DenormalsAreZero),
            isQuiet, ref context);

    public static bool Satisfies(
        FloatPredicate predicate, ulong a, ulong b, FloatFormat format, ref FloatContext context)
    {
        bool isQuiet = predicate is FloatPredicate.Equal or FloatPredicate.Unordered
            or FloatPredicate.NotEqual or FloatPredicate.Ordered;
        return Holds(predicate, Compare(a, b, isQuiet, format, ref context));
    }

    public static bool Holds(FloatPredicate predicate, FloatRelation relation) => predicate switch
    {
        FloatPredicate.Equal => relation == FloatRelation.Equal,
        FloatPredicate.Less => relation == FloatRelation.Less,
        FloatPredicate.LessOrEqual => relation is FloatRelation.Less or FloatRelation.Equal,
        FloatPredicate.Unordered => relation == FloatRelation.Unordered,
        FloatPredicate.NotEqual => relation != FloatRelation.Equal,
        FloatPredicate.NotLess => relation != FloatRelation.Less,
        FloatPredicate.NotLessOrEqual => relation is FloatRelation.Greater or FloatRelation.Unordered,
        _ => relation != FloatRelation.Unordered,
    };

    public static ulong RoundToInteger(ulong a, byte control, FloatFormat format, ref FloatContext context)
    {
        const int fromMxcsr = 4, isSilent = 8;
        var operand = format.Unpack(a, context.DenormalsAreZero);
        if (operand.IsNan) return format.Pack(Propagate(operand, operand, ref context));

        var mode = (control & fromMxcsr) != 0 ? context.Rounding : (RoundingMode)(control & 3);
        var rounded = FloatRounding.RoundToInteger(operand, mode, out var change);
        if ((control & isSilent) == 0) FloatRounding.Report(change, ref context);
        return format.Pack(rounded);
    }

    /// <summary>
    /// Rounds to a signed integer of some width; what does not fit is invalid and gives the most negative one.
    /// </summary>
    public static long ToInteger(ulong a, int bits, RoundingMode mode, FloatFormat format, ref FloatContext context) =>
        ToInteger(format.Unpack(a, context.DenormalsAreZero), bits, mode, ref context);

    public static long ToInteger(in Unpacked operand, int bits, RoundingMode mode, ref FloatContext context)
    {
        long least = long.MinValue >> 64 - bits;
        if (operand.IsZero) return 0;
        if (operand.IsFinite && operand.Exponent < bits)
        {
            var rounded = FloatRounding.RoundToInteger(operand, mode, out var change);
            ulong magnitude = rounded.IsZero ? 0 : (ulong)(rounded.Significand >> 127 - rounded.Exponent);
            if (magnitude <= (ulong)-(least + 1) || rounded.IsNegative && magnitude == 0 - (ulong)least)
            {
                FloatRounding.Report(change, ref context);
                return rounded.IsNegative ? (long)(0 - magnitude) : (long)magnitude;
            }
        }
        context.Raise(FloatExceptions.Invalid);
        return least;
    }

    public static ulong FromInteger(long value, FloatFormat format, ref FloatContext context) =>
        Round(Unpacked.FromInteger(value), format, ref context);

    /// <summary>CVTSS2SD and CVTSD2SS.</summary>
    public static ulong Convert(ulong a, FloatFormat from, FloatFormat to, ref FloatContext context)
    {
        var operand = from.Unpack(a, context.DenormalsAreZero);
        if (operand.IsNan) return to.Pack(Propagate(operand, operand, ref context));
        FloatMath.RaiseDenormal(operand, operand, ref context);
        return Round(operand, to, ref context);
    }

    static ulong Round(in Unpacked value, FloatFormat format, ref FloatContext context) =>
        format.Pack(FloatRounding.Round(value, format, ref context));

    /// <summary>
    /// The NaN that an operation on a NaN gives: the first operand's if it is one, else the second's; quiet.
    /// </summary>
    static Unpacked Propagate(in Unpacked a, in Unpacked b, ref FloatContext context)
    {
        if (a.Class == FloatClass.SignalingNan || b.Class == FloatClass.SignalingNan)
            context.Raise(FloatExceptions.Invalid);
        return a.IsNan ? a.Quieted() : b.Quieted();
    }

    static FloatRelation Compare(in Unpacked a, in Unpacked b, bool isQuiet, ref FloatContext context)
    {
        if (!a.IsNan && !b.IsNan) return FloatMath.Compare(a, b, ref context);
        if (!isQuiet || a.Class == FloatClass.SignalingNan || b.Class == FloatClass.SignalingNan)
            context.Raise(FloatExceptions.Invalid);
        return FloatRelation.Unordered;
    }
}
