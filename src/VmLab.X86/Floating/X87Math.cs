namespace VmLab.X86.Floating;

/// <summary>The x87's operations as functions of their operands, without its stack.</summary>
/// <remarks>
/// An unsupported encoding is invalid, before any NaN is looked at. Source: Intel SDM vol. 1 §4.8.3.5, table 4-7 (NaN
/// results), §8.5.1.2 (invalid operands); vol. 2 for the instruction named.
/// </remarks>
static class X87Math
{
    public static Unpacked Compute(
        X87Operation operation, in Unpacked destination, in Unpacked source, FloatFormat format,
        ref FloatContext context)
    {
        if (!destination.IsNumber || !source.IsNumber) return Propagate(destination, source, ref context);
        var exact = operation switch
        {
            X87Operation.Add => FloatMath.Add(destination, source, ref context),
            X87Operation.Multiply => FloatMath.Multiply(destination, source, ref context),
            X87Operation.Subtract => FloatMath.Subtract(destination, source, ref context),
            X87Operation.SubtractReversed => FloatMath.Subtract(source, destination, ref context),
            X87Operation.Divide => FloatMath.Divide(destination, source, ref context),
            _ => FloatMath.Divide(source, destination, ref context),
        };
        return FloatRounding.Round(exact, format, ref context);
    }

    public static Unpacked SquareRoot(in Unpacked operand, FloatFormat format, ref FloatContext context) =>
        operand.IsNumber
            ? FloatRounding.Round(FloatMath.SquareRoot(operand, ref context), format, ref context)
            : Propagate(operand, operand, ref context);

    /// <param name="isQuiet">FUCOM: a quiet NaN is not invalid.</param>
    public static FloatRelation Compare(in Unpacked a, in Unpacked b, bool isQuiet, ref FloatContext context)
    {
        if (a.IsNumber && b.IsNumber) return FloatMath.Compare(a, b, ref context);
        bool isInvalid = !isQuiet || !a.IsNumber && a.Class != FloatClass.QuietNan
            || !b.IsNumber && b.Class != FloatClass.QuietNan;
        if (isInvalid) context.Raise(FloatExceptions.Invalid);
        return FloatRelation.Unordered;
    }

    /// <summary>Converts to the extended format, or from it to another: quiets a NaN, rounds a number.</summary>
    public static Unpacked Convert(in Unpacked operand, FloatFormat format, ref FloatContext context) =>
        operand.IsNumber
            ? FloatRounding.Round(operand, format, ref context)
            : Propagate(operand, operand, ref context);

    /// <summary>FRNDINT.</summary>
    public static Unpacked RoundToInteger(in Unpacked operand, ref FloatContext context)
    {
        if (!operand.IsNumber) return Propagate(operand, operand, ref context);
        FloatMath.RaiseDenormal(operand, operand, ref context);
        var rounded = FloatRounding.RoundToInteger(operand, context.Rounding, out var change);
        FloatRounding.Report(change, ref context);
        return rounded;
    }

    /// <summary>FSCALE: value × 2^trunc(scale).</summary>
    public static Unpacked Scale(in Unpacked value, in Unpacked scale, ref FloatContext context)
    {
        if (!value.IsNumber || !scale.IsNumber) return Propagate(value, scale, ref context);
        if (scale.IsInfinity && (scale.IsNegative ? value.IsInfinity : value.IsZero))
            return FloatMath.Invalid(ref context);
        FloatMath.RaiseDenormal(value, scale, ref context);
        if (value.IsInfinity || value.IsZero) return value;
        if (scale.IsInfinity)
            return scale.IsNegative ? Unpacked.Zero(value.IsNegative) : Unpacked.Infinity(value.IsNegative);

        // Any scale of 2^16 and more is as good as 2^16: the result is out of range on every path.
        const int beyond = 1 << 16;
        int power = scale.IsZero || scale.Exponent < 0 ? 0
            : scale.Exponent >= 16 ? beyond
            : (int)(scale.Significand >> 127 - scale.Exponent);
        var exact = value with { Exponent = value.Exponent + (scale.IsNegative ? -power : power) };
        var rounded = FloatRounding.Round(exact, FloatFormat.Extended, ref context);

        // Unmasked, a result that is out of range even with its exponent wrapped is infinity or zero, inexact (SDM vol.
        // 1 §8.5.4, §8.5.5).
        bool isHuge = rounded.Exponent > FloatFormat.Extended.MaxExponent;
        bool isTiny = !context.IsMasked(FloatExceptions.Underflow)
            && rounded.Exponent < FloatFormat.Extended.MinExponent;
        if (!rounded.IsFinite || !isHuge && !isTiny) return rounded;
        FloatRounding.Report(isHuge ? FloatRounding.Change.Up : FloatRounding.Change.Down, ref context);
        return isHuge ? Unpacked.Infinity(value.IsNegative) : Unpacked.Zero(value.IsNegative);
    }

    /// <summary>FXTRACT: the exponent as a number, and the significand with the exponent of one.</summary>
    public static (Unpacked Exponent, Unpacked Significand) Extract(in Unpacked operand, ref FloatContext context)
    {
        if (!operand.IsNumber)
        {
            var nan = Propagate(operand, operand, ref context);
            return (nan, nan);
        }
        if (operand.IsZero)
        {
            context.Raise(FloatExceptions.ZeroDivide);
            return (Unpacked.Infinity(true), operand);
        }
        if (operand.IsInfinity) return (Unpacked.Infinity(false), operand);
        FloatMath.RaiseDenormal(operand, operand, ref context);
        return (Unpacked.FromInteger(operand.Exponent), operand with { Exponent = 0 });
    }

    /// <summary>
    /// FPREM and FPREM1: what is left of the dividend after subtracting the divisor a whole number of times.
    /// </summary>
    /// <param name="isNearest">FPREM1: the quotient is rounded to nearest even rather than toward zero.</param>
    /// <param name="quotient">The low bits of the quotient; null when the reduction is partial and must go on.</param>
    public static Unpacked Remainder(
        in Unpacked dividend, in Unpacked divisor, bool isNearest, out ulong? quotient, ref FloatContext context)
    {
        quotient = 0;
        if (!dividend.IsNumber || !divisor.IsNumber) return Propagate(dividend, divisor, ref context);
        if (dividend.IsInfinity || divisor.IsZero) return FloatMath.Invalid(ref context);
        FloatMath.RaiseDenormal(dividend, divisor, ref context);
        if (dividend.IsZero || divisor.IsInfinity) return Exact(dividend, ref context);

        int distance = dividend.Exponent - divisor.Exponent;
        if (distance < (isNearest ? -1 : 0)) return Exact(dividend, ref context);

        if (distance >= 64)
        {
            // As hardware does, take 32 to 63 bits of the quotient at a time, so that what is left is a multiple of 32.
            int step = distance & 31 | 32;
            var left = ((UInt128)dividend.High << step) % divisor.High;
            quotient = null;
            return left == 0
                ? Unpacked.Zero(dividend.IsNegative)
                : Exact(Unpacked.Normalized(dividend.IsNegative, dividend.Exponent - step, left << 64), ref context);
        }

        // One place below the divisor's lowest bit serves a dividend of half its size.
        bool isSmaller = distance < 0;
        var unit = (UInt128)divisor.High << (isSmaller ? 1 : 0);
        var (whole, rest) = UInt128.DivRem((UInt128)dividend.High << (isSmaller ? 0 : distance), unit);
        bool isNegative = dividend.IsNegative;
        if (isNearest && (rest > unit - rest || rest == unit - rest && (whole & 1) != 0))
        {
            rest = unit - rest;
            whole++;
            isNegative = !isNegative;
        }
        quotient = (ulong)whole;
        return rest == 0
            ? Unpacked.Zero(dividend.IsNegative)
            : Exact(Unpacked.Normalized(isNegative, divisor.Exponent + (isSmaller ? 63 : 64), rest), ref context);
    }

    /// <summary>FBSTP: eighteen digits and a sign, as <see cref="X87Operand.FromPackedDecimal"/> reads them.</summary>
    public static (ulong Low, ushort High) ToPackedDecimal(in Unpacked operand, ref FloatContext context)
    {
        const long limit = 1_000_000_000_000_000_000;
        if (!operand.IsZero && !(operand.IsFinite && operand.Exponent < 60)) return Invalid(ref context);
        var rounded = FloatRounding.RoundToInteger(operand, context.Rounding, out var change);
        long magnitude = rounded.IsZero ? 0 : (long)(rounded.Significand >> 127 - rounded.Exponent);
        if (magnitude >= limit) return Invalid(ref context);

        FloatRounding.Report(change, ref context);
        ulong low = 0;
        for (int shift = 0; shift < 64; shift += 4)
        {
            (magnitude, long digit) = Math.DivRem(magnitude, 10);
            low |= (ulong)digit << shift;
        }
        int high = (int)(magnitude / 10 << 4 | magnitude % 10);
        return (low, (ushort)(high | (rounded.IsNegative ? 0x8000 : 0)));

        static (ulong Low, ushort High) Invalid(ref FloatContext context)
        {
            context.Raise(FloatExceptions.Invalid);
            return (0xC000000000000000, 0xFFFF);
        }
    }

    /// <summary>The NaN that an operation without a number for each operand gives.</summary>
    /// <remarks>Of two NaNs the quiet one, else the one of the larger significand, else the positive one.</remarks>
    public static Unpacked Propagate(in Unpacked a, in Unpacked b, ref FloatContext context)
    {
        if (a.Class == FloatClass.Unsupported || b.Class == FloatClass.Unsupported)
            return FloatMath.Invalid(ref context);
        if (a.Class == FloatClass.SignalingNan || b.Class == FloatClass.SignalingNan)
            context.Raise(FloatExceptions.Invalid);

        if (!b.IsNan) return a.Quieted();
        if (!a.IsNan) return b.Quieted();
        if (a.Class != b.Class) return a.Class == FloatClass.QuietNan ? a : b;
        if (a.Significand != b.Significand) return (a.Significand > b.Significand ? a : b).Quieted();
        return (a.IsNegative ? b : a).Quieted();
    }

    /// <summary>An exact result may still be tiny.</summary>
    static Unpacked Exact(in Unpacked value, ref FloatContext context) =>
        FloatRounding.Round(value, FloatFormat.Extended, ref context);
}
