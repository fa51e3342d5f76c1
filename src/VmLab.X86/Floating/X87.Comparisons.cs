namespace VmLab.X86.Floating;

/// <summary>Comparisons and classification. Source: Intel SDM vol. 1 §8.3.6.</summary>
/// <remarks>
/// An unmasked exception keeps the stack from being popped, yet the condition codes (or flags) tell the outcome all the
/// same: so it is on the hardware that the tests ran on, while the manual's tables leave them alone when an unmasked
/// operand is invalid.
/// </remarks>
public static partial class X87
{
    /// <summary>
    /// FCOM and FCOMP with a memory operand, FICOM and FICOMP: C3, C2, C0 say how ST(0) stands to it.
    /// </summary>
    public static void Compare(ref X87State state, X87Operand operand, bool pops)
    {
        bool isEmpty = state.IsEmpty(0);
        bool isDone = Compare(
            ref state, state[0].Unpack(), operand.Value, isEmpty, isQuiet: false, out var relation);
        SetConditions(ref state, relation);
        if (isDone && pops) Pop(ref state);
    }

    /// <summary>FCOM, FCOMP, FCOMPP and their FUCOM kin.</summary>
    /// <param name="isQuiet">FUCOM: a quiet NaN is not invalid.</param>
    /// <param name="pops">How many times: 0 to 2.</param>
    public static void Compare(ref X87State state, int i, bool isQuiet, int pops)
    {
        bool isDone = Compare(ref state, i, isQuiet, out var relation);
        SetConditions(ref state, relation);
        for (int n = 0; isDone && n < pops; n++) Pop(ref state);
    }

    /// <summary>FCOMI, FCOMIP, FUCOMI, FUCOMIP.</summary>
    /// <returns>The RFLAGS bits ZF, PF, CF to set (OF, SF, AF become 0).</returns>
    public static FloatRelation CompareToFlags(ref X87State state, int i, bool isQuiet, bool pops)
    {
        if (Compare(ref state, i, isQuiet, out var relation) && pops) Pop(ref state);
        return relation;
    }

    /// <summary>FTST: how ST(0) stands to zero.</summary>
    public static void Test(ref X87State state)
    {
        Compare(ref state, state[0].Unpack(), Unpacked.Zero(false), state.IsEmpty(0), isQuiet: false, out var relation);
        SetConditions(ref state, relation);
    }

    /// <summary>FXAM: what ST(0) holds, in C3, C2, C0, and its sign, even if it is empty, in C1.</summary>
    public static void Examine(ref X87State state)
    {
        var value = state[0];
        var unpacked = value.Unpack();
        int kind = state.IsEmpty(0) ? X87State.C3 | X87State.C0 : unpacked.Class switch
        {
            FloatClass.Unsupported => 0,
            FloatClass.QuietNan or FloatClass.SignalingNan => X87State.C0,
            FloatClass.Infinity => X87State.C2 | X87State.C0,
            FloatClass.Zero => X87State.C3,
            _ => unpacked.IsDenormal ? X87State.C3 | X87State.C2 : X87State.C2,
        };
        state.SetConditions(kind | (value.IsNegative ? X87State.C1 : 0));
    }

    static bool Compare(ref X87State state, int i, bool isQuiet, out FloatRelation relation)
    {
        bool isEmpty = state.IsEmpty(0) || state.IsEmpty(i);
        return Compare(ref state, state[0].Unpack(), state[i].Unpack(), isEmpty, isQuiet, out relation);
    }

    /// <summary>Compares, and reports; an empty register is unordered with anything.</summary>
    /// <returns>Whether the instruction goes on to pop: no unmasked exception stops it.</returns>
    static bool Compare(
        ref X87State state, in Unpacked a, in Unpacked b, bool isEmpty, bool isQuiet, out FloatRelation relation)
    {
        relation = FloatRelation.Unordered;
        if (isEmpty) return StackFault(ref state, isOverflow: false);
        var context = Begin(state);
        relation = X87Math.Compare(a, b, isQuiet, ref context);
        return Finish(ref state, context);
    }

    // C3, C2, C0 lie in the status word's high byte as ZF, PF, CF do in the low byte of RFLAGS: SAHF's reason.
    static void SetConditions(ref X87State state, FloatRelation relation) =>
        state.SetConditions((int)relation << 8, X87State.C0 | X87State.C2 | X87State.C3);
}
