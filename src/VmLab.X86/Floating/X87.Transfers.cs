namespace VmLab.X86.Floating;

/// <summary>Loads, stores and moves. Source: Intel SDM vol. 1 §8.3.3, §8.3.4.</summary>
public static partial class X87
{
    /// <summary>
    /// FLD m32fp and m64fp, FILD, FBLD: a signaling NaN becomes quiet, invalid; a denormal number raises its exception.
    /// </summary>
    /// <remarks>A denormal number is loaded even when its exception is unmasked.</remarks>
    public static void Load(ref X87State state, X87Operand operand)
    {
        if (!CanPush(ref state)) return;
        var context = Begin(state);
        var value = X87Math.Convert(operand.Value, FloatFormat.Extended, ref context);
        FloatMath.RaiseDenormal(operand.Value, operand.Value, ref context);
        if (Finish(ref state, context, FloatExceptions.Invalid)) Push(ref state, Float80.Pack(value));
    }

    /// <summary>FLD m80fp: any bits, no exceptions but the stack's.</summary>
    public static void Load(ref X87State state, Float80 value)
    {
        if (!CanPush(ref state)) return;
        state.SetConditions(0, X87State.C1);
        Push(ref state, value);
    }

    /// <summary>FLD ST(i); of two stack faults, the empty source is the one reported.</summary>
    public static void LoadRegister(ref X87State state, int i)
    {
        if (state.IsEmpty(i))
        {
            if (StackFault(ref state, isOverflow: false)) Push(ref state, Float80.Indefinite);
            return;
        }
        if (!CanPush(ref state)) return;
        state.SetConditions(0, X87State.C1);
        Push(ref state, state[i]);
    }

    /// <summary>FLD1 to FLDZ: rounded as the control word says, without an exception.</summary>
    public static void LoadConstant(ref X87State state, X87Constant constant)
    {
        // What a 64-bit significand holds when rounded down, and whether nearest and up differ from it (Intel SDM vol.
        // 1 §8.3.8).
        var (down, exponent, isNearestUp) = constant switch
        {
            X87Constant.Log2Of10 => (0xD49A784BCD1B8AFE, 0x4000, false),
            X87Constant.Log2OfE => (0xB8AA3B295C17F0BB, 0x3FFF, true),
            X87Constant.Pi => (0xC90FDAA22168C234, 0x4000, true),
            X87Constant.Log10Of2 => (0x9A209A84FBCFF798, 0x3FFD, true),
            X87Constant.LnOf2 => (0xB17217F7D1CF79AB, 0x3FFE, true),
            _ => (0x8000000000000000, 0x3FFF, false),
        };
        if (constant == X87Constant.Zero) Load(ref state, Float80.Zero);
        else if (constant == X87Constant.One) Load(ref state, Float80.One);
        else
        {
            var rounding = Begin(state).Rounding;
            bool isUp = rounding == RoundingMode.Up || rounding == RoundingMode.NearestEven && isNearestUp;
            Load(ref state, new Float80(down + (isUp ? 1UL : 0), (ushort)exponent));
        }
    }

    /// <summary>FST and FSTP m32fp.</summary>
    /// <returns>The bits to write, or null for none.</returns>
    public static uint? StoreSingle(ref X87State state, bool pops) =>
        (uint?)StoreFloat(ref state, FloatFormat.Single, pops);

    /// <summary>FST and FSTP m64fp.</summary>
    /// <returns>The bits to write, or null for none.</returns>
    public static ulong? StoreDouble(ref X87State state, bool pops) => StoreFloat(ref state, FloatFormat.Double, pops);

    /// <summary>FSTP m80fp: the bits as they are.</summary>
    /// <returns>What to write, or null for nothing.</returns>
    public static Float80? StoreExtended(ref X87State state)
    {
        var value = Float80.Indefinite;
        if (!state.IsEmpty(0))
        {
            value = state[0];
            state.SetConditions(0, X87State.C1);
        }
        else if (!StackFault(ref state, isOverflow: false)) return null;
        Pop(ref state);
        return value;
    }

    /// <summary>FIST, FISTP and FISTTP.</summary>
    /// <param name="bits">16, 32 or 64.</param>
    /// <param name="truncates">FISTTP: toward zero, whatever the control word says.</param>
    /// <returns>The integer to write, or null for none.</returns>
    public static long? StoreInteger(ref X87State state, int bits, bool truncates, bool pops)
    {
        var context = Begin(state);
        long value = long.MinValue >> 64 - bits;
        if (!state.IsEmpty(0))
        {
            var mode = truncates ? RoundingMode.TowardZero : context.Rounding;
            value = ScalarMath.ToInteger(state[0].Unpack(), bits, mode, ref context);
            if (!Finish(ref state, context)) return null;
        }
        else if (!StackFault(ref state, isOverflow: false)) return null;
        if (pops) Pop(ref state);
        return value;
    }

    /// <summary>
    /// FBSTP: eighteen packed decimal digits, as <see cref="X87Operand.FromPackedDecimal"/> reads them.
    /// </summary>
    /// <returns>What to write, or null for nothing.</returns>
    public static (ulong Low, ushort High)? StorePackedDecimal(ref X87State state)
    {
        var context = Begin(state);
        var operand = state.IsEmpty(0) ? Unpacked.Indefinite : state[0].Unpack();
        var value = X87Math.ToPackedDecimal(operand, ref context);
        bool goesOn = state.IsEmpty(0) ? StackFault(ref state, isOverflow: false) : Finish(ref state, context);
        if (!goesOn) return null;
        Pop(ref state);
        return value;
    }

    /// <summary>FST and FSTP ST(i).</summary>
    public static void StoreRegister(ref X87State state, int i, bool pops)
    {
        var value = Float80.Indefinite;
        if (!state.IsEmpty(0))
        {
            value = state[0];
            state.SetConditions(0, X87State.C1);
        }
        else if (!StackFault(ref state, isOverflow: false)) return;
        state[i] = value;
        if (pops) Pop(ref state);
    }

    /// <summary>FSTP1, an old name of FSTP ST(i) that does not mind an empty ST(0).</summary>
    public static void StoreUnchecked(ref X87State state, int i)
    {
        state.SetConditions(0, X87State.C1);
        state[i] = state[0];
        Pop(ref state);
    }

    /// <summary>FXCH: an empty register counts, masked, as the indefinite NaN.</summary>
    public static void Exchange(ref X87State state, int i)
    {
        if (state.IsEmpty(0) || state.IsEmpty(i))
        {
            if (!StackFault(ref state, isOverflow: false)) return;
            if (state.IsEmpty(0)) state[0] = Float80.Indefinite;
            if (state.IsEmpty(i)) state[i] = Float80.Indefinite;
        }
        else state.SetConditions(0, X87State.C1);
        (state[0], state[i]) = (state[i], state[0]);
    }

    /// <summary>FCMOVcc: the registers must not be empty even when the condition does not hold.</summary>
    public static void Move(ref X87State state, int i, bool holds)
    {
        if (state.IsEmpty(0) || state.IsEmpty(i))
        {
            if (StackFault(ref state, isOverflow: false)) state[0] = Float80.Indefinite;
            return;
        }
        if (holds) state[0] = state[i];
    }

    static ulong? StoreFloat(ref X87State state, FloatFormat format, bool pops)
    {
        var context = Begin(state);
        var value = Unpacked.Indefinite;
        if (!state.IsEmpty(0))
        {
            value = X87Math.Convert(state[0].Unpack(), format, ref context);
            if (!FinishStore(ref state, context)) return null;
        }
        else if (!StackFault(ref state, isOverflow: false)) return null;
        if (pops) Pop(ref state);
        return format.Pack(value);
    }

    /// <summary>
    /// As <see cref="Finish"/>, but what does not fit, unmasked, is neither rounded nor written, so that is all to
    /// report.
    /// </summary>
    static bool FinishStore(ref X87State state, FloatContext context)
    {
        if ((context.Raised & ~context.Masks & OutOfRange) != 0) context.Forget(FloatExceptions.Inexact);
        return Finish(ref state, context, FloatExceptions.BeforeResult | OutOfRange);
    }

    /// <summary>Looks for room on the stack; without it, masked, the indefinite NaN goes there.</summary>
    static bool CanPush(ref X87State state)
    {
        if (state.IsEmpty(7)) return true;
        if (StackFault(ref state, isOverflow: true)) Push(ref state, Float80.Indefinite);
        return false;
    }
}
