namespace VmLab.X86.Floating;

/// <summary>Arithmetic. Source: Intel SDM vol. 1 §8.3.5.</summary>
public static partial class X87
{
    /// <summary>FADD to FDIVR with a memory operand, FIADD to FIDIVR: ST(0) is the destination.</summary>
    public static void Compute(ref X87State state, X87Operation operation, X87Operand source)
    {
        if (state.IsEmpty(0))
        {
            if (StackFault(ref state, isOverflow: false)) state[0] = Float80.Indefinite;
            return;
        }
        var context = Begin(state);
        var result = X87Math.Compute(operation, state[0].Unpack(), source.Value, Precision(state), ref context);
        if (Finish(ref state, context)) state[0] = Float80.Pack(result);
    }

    /// <summary>
    /// FADD to FDIVR with registers: destination = destination op source, or reversed; one of them is 0.
    /// </summary>
    /// <param name="pops">FADDP to FDIVRP.</param>
    public static void Compute(ref X87State state, X87Operation operation, int destination, int source, bool pops)
    {
        var result = Float80.Indefinite;
        if (state.IsEmpty(destination) || state.IsEmpty(source))
        {
            if (!StackFault(ref state, isOverflow: false)) return;
        }
        else
        {
            var context = Begin(state);
            var value = X87Math.Compute(
                operation, state[destination].Unpack(), state[source].Unpack(), Precision(state), ref context);
            if (!Finish(ref state, context)) return;
            result = Float80.Pack(value);
        }
        state[destination] = result;
        if (pops) Pop(ref state);
    }

    /// <summary>FSQRT.</summary>
    public static void SquareRoot(ref X87State state)
    {
        if (!HasOperand(ref state)) return;
        var context = Begin(state);
        var root = X87Math.SquareRoot(state[0].Unpack(), Precision(state), ref context);
        if (Finish(ref state, context)) state[0] = Float80.Pack(root);
    }

    /// <summary>FRNDINT.</summary>
    public static void RoundToInteger(ref X87State state)
    {
        if (!HasOperand(ref state)) return;
        var context = Begin(state);
        var rounded = X87Math.RoundToInteger(state[0].Unpack(), ref context);
        if (Finish(ref state, context)) state[0] = Float80.Pack(rounded);
    }

    /// <summary>FCHS.</summary>
    public static void Negate(ref X87State state)
    {
        if (!HasOperand(ref state)) return;
        state.SetConditions(0, X87State.C1);
        state[0] = state[0].Negated;
    }

    /// <summary>FABS.</summary>
    public static void Absolute(ref X87State state)
    {
        if (!HasOperand(ref state)) return;
        state.SetConditions(0, X87State.C1);
        state[0] = state[0].Magnitude;
    }

    /// <summary>FSCALE.</summary>
    public static void Scale(ref X87State state)
    {
        if (!HasOperands(ref state)) return;
        var context = Begin(state);
        var scaled = X87Math.Scale(state[0].Unpack(), state[1].Unpack(), ref context);
        if (Finish(ref state, context)) state[0] = Float80.Pack(scaled);
    }

    /// <summary>FXTRACT: ST(0) becomes the exponent, then the significand is pushed.</summary>
    public static void Extract(ref X87State state)
    {
        if (!HasRoomForTwo(ref state)) return;
        var context = Begin(state);
        var (exponent, significand) = X87Math.Extract(state[0].Unpack(), ref context);
        if (!Finish(ref state, context)) return;
        state[0] = Float80.Pack(exponent);
        Push(ref state, Float80.Pack(significand));
    }

    /// <summary>
    /// FPREM, FPREM1: C2 says that the reduction is partial; else C0, C3, C1 are the quotient's bits 2, 1, 0.
    /// </summary>
    /// <param name="isNearest">FPREM1, IEEE 754's remainder.</param>
    public static void Remainder(ref X87State state, bool isNearest)
    {
        state.SetConditions(0, X87State.C2);
        if (!HasOperands(ref state)) return;
        var context = Begin(state);
        var left = X87Math.Remainder(
            state[0].Unpack(), state[1].Unpack(), isNearest, out ulong? quotient, ref context);
        if (!Finish(ref state, context)) return;
        state[0] = Float80.Pack(left);
        if (left.IsNumber) state.SetConditions(quotient is { } bits ? QuotientCodes(bits) : X87State.C2);
    }

    static int QuotientCodes(ulong quotient) =>
        ((quotient & 4) != 0 ? X87State.C0 : 0)
        | ((quotient & 2) != 0 ? X87State.C3 : 0)
        | ((quotient & 1) != 0 ? X87State.C1 : 0);

    /// <summary>
    /// Whether ST(0) holds something and there is room above it; if not, masked, both become the indefinite NaN.
    /// </summary>
    static bool HasRoomForTwo(ref X87State state)
    {
        if (!state.IsEmpty(0) && state.IsEmpty(7)) return true;
        if (StackFault(ref state, isOverflow: !state.IsEmpty(0)))
        {
            state[0] = Float80.Indefinite;
            Push(ref state, Float80.Indefinite);
        }
        return false;
    }

    /// <summary>Whether ST(0) holds something; if not, masked, it becomes the indefinite NaN.</summary>
    static bool HasOperand(ref X87State state)
    {
        if (!state.IsEmpty(0)) return true;
        if (StackFault(ref state, isOverflow: false)) state[0] = Float80.Indefinite;
        return false;
    }

    /// <summary>Whether ST(0) and ST(1) hold something; if not, masked, ST(0) becomes the indefinite NaN.</summary>
    static bool HasOperands(ref X87State state)
    {
        if (!state.IsEmpty(0) && !state.IsEmpty(1)) return true;
        if (StackFault(ref state, isOverflow: false)) state[0] = Float80.Indefinite;
        return false;
    }
}
