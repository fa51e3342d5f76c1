namespace VmLab.X86.Floating;

/// <summary>
/// Transcendental functions, rounded as the control word says and never to its precision. Outside the range that the
/// manual defines, an operand that has no result is the result itself, as on the hardware that the tests ran on.
/// Source: Intel SDM vol. 1 §8.3.7 to §8.3.10; special values: vol. 2, the tables at F2XM1, FCOS, FPATAN, FPTAN, FSIN,
/// FYL2X, FYL2XP1.
/// </summary>
public static partial class X87
{
    /// <summary>F2XM1: 2^ST(0) − 1. Outside −1 to 1, undefined by the manual, the operand stays.</summary>
    public static void PowerOfTwoMinusOne(ref X87State state)
    {
        if (!HasOperand(ref state)) return;
        var context = Begin(state);
        var result = PowerOfTwoMinusOne(state[0].Unpack(), ref context);
        if (Finish(ref state, context)) state[0] = Float80.Pack(result);
    }

    /// <summary>FYL2X: ST(1) × log2 ST(0), and a pop.</summary>
    public static void Logarithm(ref X87State state)
    {
        if (!HasOperandsToPop(ref state)) return;
        var context = Begin(state);
        var result = Logarithm(state[0].Unpack(), state[1].Unpack(), ref context);
        FinishAndPop(ref state, result, context);
    }

    /// <summary>
    /// FYL2XP1: ST(1) × log2(ST(0) + 1), and a pop. Beyond the manual's range it goes on, but from −1 down ST(0) is the
    /// result.
    /// </summary>
    public static void LogarithmOfOnePlus(ref X87State state)
    {
        if (!HasOperandsToPop(ref state)) return;
        var context = Begin(state);
        var result = LogarithmOfOnePlus(state[0].Unpack(), state[1].Unpack(), ref context);
        FinishAndPop(ref state, result, context);
    }

    /// <summary>FPATAN: the angle of the point (ST(0), ST(1)), and a pop.</summary>
    public static void Arctangent(ref X87State state)
    {
        if (!HasOperandsToPop(ref state)) return;
        var context = Begin(state);
        var result = Arctangent(state[1].Unpack(), state[0].Unpack(), ref context);
        FinishAndPop(ref state, result, context);
    }

    /// <summary>FSIN. C2 says that the operand is 2^63 or more, and stays as it is.</summary>
    public static void Sine(ref X87State state)
    {
        if (!HasAngle(ref state, out var angle)) return;
        var context = Begin(state);
        var sine = Sine(angle, ref context);
        if (Finish(ref state, context)) state[0] = Float80.Pack(sine);
    }

    /// <summary>FCOS. C2 as in <see cref="Sine(ref X87State)"/>.</summary>
    public static void Cosine(ref X87State state)
    {
        if (!HasAngle(ref state, out var angle)) return;
        var context = Begin(state);
        var cosine = Cosine(angle, ref context);
        if (Finish(ref state, context)) state[0] = Float80.Pack(cosine);
    }

    /// <summary>
    /// FSINCOS: ST(0) becomes the sine, then the cosine is pushed. C2 as in <see cref="Sine(ref X87State)"/>.
    /// </summary>
    public static void SineAndCosine(ref X87State state)
    {
        state.SetConditions(0, X87State.C2);
        if (!HasRoomForTwo(ref state) || !HasAngle(ref state, out var angle)) return;
        var context = Begin(state);
        var cosine = Cosine(angle, ref context);
        var sine = Sine(angle, ref context);
        if (!Finish(ref state, context)) return;
        state[0] = Float80.Pack(sine);
        Push(ref state, Float80.Pack(cosine));
    }

    /// <summary>
    /// FPTAN: ST(0) becomes the tangent, then 1 is pushed (or the same NaN). C2 as in <see cref="Sine(ref X87State)"/>.
    /// </summary>
    public static void Tangent(ref X87State state)
    {
        state.SetConditions(0, X87State.C2);
        if (!HasRoomForTwo(ref state) || !HasAngle(ref state, out var angle)) return;
        var context = Begin(state);
        var tangent = Tangent(angle, ref context);
        if (!Finish(ref state, context)) return;
        state[0] = Float80.Pack(tangent);
        Push(ref state, tangent.IsNumber ? Float80.One : state[0]);
    }

    static Unpacked PowerOfTwoMinusOne(in Unpacked x, ref FloatContext context)
    {
        if (!x.IsNumber) return X87Math.Propagate(x, x, ref context);
        if (x.IsZero) return x;
        if (x.IsInfinity) return x.IsNegative ? Unpacked.FromInteger(-1) : x;
        FloatMath.RaiseDenormal(x, x, ref context);
        if (IsOne(x) && x.IsNegative) return Round(x with { Exponent = -1 }, ref context);
        if (x.Exponent >= 0) return Round(x, ref context);
        return Round(Transcendental.PowerOfTwoMinusOne(x), ref context);
    }

    static Unpacked Logarithm(in Unpacked x, in Unpacked y, ref FloatContext context)
    {
        if (!x.IsNumber || !y.IsNumber) return X87Math.Propagate(x, y, ref context);
        if (x.IsZero) return LogarithmOfZero(y, ref context);
        if (x.IsNegative) return FloatMath.Invalid(ref context);
        bool isOne = IsOne(x);
        if (isOne && y.IsInfinity || x.IsInfinity && y.IsZero) return FloatMath.Invalid(ref context);

        FloatMath.RaiseDenormal(x, y, ref context);
        bool isNegative = y.IsNegative != x.Exponent < 0;
        if (isOne || y.IsZero) return Unpacked.Zero(isNegative);
        if (x.IsInfinity || y.IsInfinity) return Unpacked.Infinity(isNegative);
        return Round(Transcendental.Logarithm(x, y), ref context);
    }

    static Unpacked LogarithmOfOnePlus(in Unpacked x, in Unpacked y, ref FloatContext context)
    {
        if (!x.IsNumber || !y.IsNumber) return X87Math.Propagate(x, y, ref context);
        if (x.IsInfinity && x.IsNegative) return FloatMath.Invalid(ref context);
        if (x.IsZero && y.IsInfinity || x.IsInfinity && y.IsZero) return FloatMath.Invalid(ref context);

        FloatMath.RaiseDenormal(x, y, ref context);
        bool isNegative = x.IsNegative != y.IsNegative;
        if (x.IsZero || y.IsZero) return Unpacked.Zero(isNegative);
        if (x.IsInfinity || y.IsInfinity) return Unpacked.Infinity(isNegative);
        if (x.IsNegative && x.Exponent >= 0) return Round(x, ref context);
        return Round(Transcendental.LogarithmOfOnePlus(x, y), ref context);
    }

    static Unpacked LogarithmOfZero(in Unpacked y, ref FloatContext context)
    {
        if (y.IsZero) return FloatMath.Invalid(ref context);
        if (y.IsFinite) context.Raise(FloatExceptions.ZeroDivide);
        return Unpacked.Infinity(!y.IsNegative);
    }

    static Unpacked Arctangent(in Unpacked y, in Unpacked x, ref FloatContext context)
    {
        if (!x.IsNumber || !y.IsNumber) return X87Math.Propagate(y, x, ref context);
        FloatMath.RaiseDenormal(x, y, ref context);
        if (y.IsInfinity || x.IsInfinity || y.IsZero || x.IsZero)
        {
            int quarters = y.IsInfinity && x.IsInfinity ? x.IsNegative ? 3 : 1
                : y.IsInfinity || x.IsZero && !y.IsZero ? 2
                : x.IsNegative ? 4 : 0;
            if (quarters == 0) return Unpacked.Zero(y.IsNegative);
            return Round(Transcendental.QuartersOfPi(quarters) with { IsNegative = y.IsNegative }, ref context);
        }
        return Round(Transcendental.Arctangent(y, x), ref context);
    }

    static Unpacked Sine(in Unpacked angle, ref FloatContext context) =>
        IsPlainAngle(angle, ref context, out var special) ? Round(Transcendental.Sine(angle), ref context) : special;

    static Unpacked Cosine(in Unpacked angle, ref FloatContext context)
    {
        if (angle.IsZero) return Unpacked.FromInteger(1);
        return IsPlainAngle(angle, ref context, out var special)
            ? Round(Transcendental.Cosine(angle), ref context)
            : special;
    }

    static Unpacked Tangent(in Unpacked angle, ref FloatContext context) =>
        IsPlainAngle(angle, ref context, out var special) ? Round(Transcendental.Tangent(angle), ref context) : special;

    /// <summary>
    /// Whether there is something to compute; if not, zero gives zero, infinity is invalid, and a NaN stays.
    /// </summary>
    static bool IsPlainAngle(in Unpacked angle, ref FloatContext context, out Unpacked special)
    {
        special = angle.IsZero ? angle
            : angle.IsInfinity ? FloatMath.Invalid(ref context)
            : angle.IsFinite ? default
            : X87Math.Propagate(angle, angle, ref context);
        FloatMath.RaiseDenormal(angle, angle, ref context);
        return angle.IsFinite;
    }

    static bool IsOne(in Unpacked value) =>
        value is { Class: FloatClass.Finite, Exponent: 0 } && value.Significand == UInt128.One << 127;

    /// <summary>
    /// Rounds; hardware calls every result inexact, even 2^1 − 1 and the product with the logarithm of a power of two.
    /// </summary>
    static Unpacked Round(in Unpacked value, ref FloatContext context)
    {
        var rounded = FloatRounding.Round(value, FloatFormat.Extended, ref context);
        context.Raise(FloatExceptions.Inexact);
        if (rounded.IsFinite && rounded.Exponent < FloatFormat.Extended.MinExponent)
            context.Raise(FloatExceptions.Underflow);
        return rounded;
    }

    /// <summary>Whether ST(0) holds an angle, or something that is none; too large a one only sets C2.</summary>
    static bool HasAngle(ref X87State state, out Unpacked angle)
    {
        angle = default;
        state.SetConditions(0, X87State.C2);
        if (!HasOperand(ref state)) return false;
        angle = state[0].Unpack();
        if (!angle.IsFinite || angle.Exponent < 63) return true;
        state.SetConditions(X87State.C2, X87State.C1 | X87State.C2);
        return false;
    }

    static bool HasOperandsToPop(ref X87State state)
    {
        if (!state.IsEmpty(0) && !state.IsEmpty(1)) return true;
        if (StackFault(ref state, isOverflow: false))
        {
            state[1] = Float80.Indefinite;
            Pop(ref state);
        }
        return false;
    }

    static void FinishAndPop(ref X87State state, in Unpacked result, in FloatContext context)
    {
        if (!Finish(ref state, context)) return;
        state[1] = Float80.Pack(result);
        Pop(ref state);
    }
}
