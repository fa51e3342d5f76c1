namespace VmLab.X86.Floating;

/// <summary>The one place where results are rounded, for every format and instruction set.</summary>
/// <remarks>
/// Tininess is detected after rounding, as x86 does. A masked underflow is reported when the result is tiny and
/// inexact, an unmasked one whenever it is tiny; the latter, and an unmasked overflow, give the result with its
/// exponent wrapped into range, which the x87 delivers to registers. Source: IEEE 754-2008 §4.3, §7.4, §7.5; Intel SDM
/// vol. 1 §4.9.1.4-6, §8.5.4-6.
/// </remarks>
static class FloatRounding
{
    /// <summary>
    /// By how much an unmasked overflow or underflow moves the exponent of an extended result: 3 × 2^13.
    /// </summary>
    public const int ExponentWrap = 24576;

    /// <summary>Rounds a finite number to a format; other classes pass.</summary>
    /// <returns>
    /// A value that the format holds: infinity, zero, a normal number, or a denormal one (its low bits are zero).
    /// </returns>
    public static Unpacked Round(in Unpacked value, FloatFormat format, ref FloatContext context)
    {
        if (!value.IsFinite) return value;

        var rounded = RoundAt(value, 128 - format.Precision, context.Rounding, out var change);
        if (rounded.Exponent > format.MaxExponent) return Overflow(rounded, change, format, ref context);
        if (rounded.Exponent < format.MinExponent) return Underflow(value, rounded, change, format, ref context);
        Report(change, ref context);
        return rounded;
    }

    /// <summary>Rounds the value itself to an integer, however large.</summary>
    /// <returns>Zero of the operand's sign, or a finite number.</returns>
    public static Unpacked RoundToInteger(in Unpacked value, RoundingMode mode, out Change change)
    {
        change = Change.None;
        if (!value.IsFinite || value.Exponent >= 127) return value;
        return value.Exponent >= 0
            ? RoundAt(value, 127 - value.Exponent, mode, out change)
            : RoundTiny(value, value.Exponent + 1, mode, out change);
    }

    /// <summary>What rounding did to the magnitude.</summary>
    public enum Change : byte { None, Down, Up }

    public static void Report(Change change, ref FloatContext context)
    {
        if (change == Change.None) return;
        context.Raise(FloatExceptions.Inexact);
        context.IsRoundedUp = change == Change.Up;
    }

    static Unpacked Overflow(in Unpacked rounded, Change change, FloatFormat format, ref FloatContext context)
    {
        context.Raise(FloatExceptions.Overflow);
        if (!context.IsMasked(FloatExceptions.Overflow))
        {
            Report(change, ref context);
            return rounded with { Exponent = rounded.Exponent - ExponentWrap };
        }

        bool toInfinity = context.Rounding switch
        {
            RoundingMode.NearestEven => true,
            RoundingMode.Down => rounded.IsNegative,
            RoundingMode.Up => !rounded.IsNegative,
            _ => false,
        };
        Report(toInfinity ? Change.Up : Change.Down, ref context);
        var largest = ~UInt128.Zero << 128 - format.Precision;
        return toInfinity
            ? Unpacked.Infinity(rounded.IsNegative)
            : rounded with { Exponent = format.MaxExponent, Significand = largest };
    }

    static Unpacked Underflow(
        in Unpacked value, in Unpacked rounded, Change change, FloatFormat format, ref FloatContext context)
    {
        if (!context.IsMasked(FloatExceptions.Underflow))
        {
            context.Raise(FloatExceptions.Underflow);
            Report(change, ref context);
            return rounded with { Exponent = rounded.Exponent + ExponentWrap };
        }

        if (context.FlushesToZero)
        {
            context.Raise(FloatExceptions.Underflow | FloatExceptions.Inexact);
            return Unpacked.Zero(value.IsNegative);
        }

        // The number keeps its leading bits down to the last place of the smallest exponent.
        int kept = format.Precision - (format.MinExponent - value.Exponent);
        var denormal = kept > 0
            ? RoundAt(value, 128 - kept, context.Rounding, out change)
            : RoundTiny(value, kept, context.Rounding, out change);
        if (change != Change.None) context.Raise(FloatExceptions.Underflow);
        Report(change, ref context);
        return denormal;
    }

    /// <summary>Rounds away the lowest <paramref name="drop"/> bits, 1 to 127; a carry moves the exponent.</summary>
    static Unpacked RoundAt(in Unpacked value, int drop, RoundingMode mode, out Change change)
    {
        var unit = UInt128.One << drop;
        var rest = value.Significand & (unit - 1);
        if (rest == 0)
        {
            change = Change.None;
            return value;
        }

        var significand = value.Significand - rest;
        var half = unit >> 1;
        bool isUp = mode switch
        {
            RoundingMode.NearestEven => rest > half || rest == half && (significand & unit) != 0,
            RoundingMode.Down => value.IsNegative,
            RoundingMode.Up => !value.IsNegative,
            _ => false,
        };
        change = isUp ? Change.Up : Change.Down;
        if (!isUp) return value with { Significand = significand };

        significand += unit;
        return significand != 0
            ? value with { Significand = significand }
            : value with { Exponent = value.Exponent + 1, Significand = UInt128.One << 127 };
    }

    /// <summary>Rounds a number that is smaller than the last place: to zero, or up to that place.</summary>
    /// <param name="kept">
    /// 0 when the leading bit is the half of the last place, less when the number is smaller.
    /// </param>
    static Unpacked RoundTiny(in Unpacked value, int kept, RoundingMode mode, out Change change)
    {
        bool isUp = mode switch
        {
            RoundingMode.NearestEven => kept == 0 && value.Significand > UInt128.One << 127,
            RoundingMode.Down => value.IsNegative,
            RoundingMode.Up => !value.IsNegative,
            _ => false,
        };
        change = isUp ? Change.Up : Change.Down;
        return isUp
            ? value with { Exponent = value.Exponent - kept + 1, Significand = UInt128.One << 127 }
            : Unpacked.Zero(value.IsNegative);
    }
}
