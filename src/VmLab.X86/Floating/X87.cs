namespace VmLab.X86.Floating;

/// <summary>
/// The instructions of the x87, each a change of its state; FWAIT's question is
/// <see cref="X87State.HasPendingException"/>.
/// </summary>
/// <remarks>
/// <para>The caller decodes, checks CR0 (EM, TS), delivers #MF for a pending exception before a waiting instruction,
/// reads and writes memory, and records the instruction's and operand's addresses. An instruction that writes memory
/// gives what to write, or says that nothing is to be written; it has changed the state by then, so a caller whose
/// write can fault works on a copy.</para>
/// <para>An unmasked exception only sets flags here. Found before the result (invalid, denormal, zero-divide) it leaves
/// operands and stack as they were; after it, the result is delivered to a register with its exponent wrapped, and to
/// memory not at all.</para>
/// <para>Source: Intel SDM vol. 1 ch. 8; vol. 2 for each instruction.</para>
/// </remarks>
public static partial class X87
{
    const FloatExceptions OutOfRange = FloatExceptions.Overflow | FloatExceptions.Underflow;

    /// <summary>The rounding mode and masks of the control word.</summary>
    static FloatContext Begin(in X87State state) => FloatContext.FromControlWord(state.Control);

    /// <summary>Reports what a computation raised, and C1.</summary>
    /// <param name="fatal">The exceptions that, unmasked, keep the result from being written.</param>
    /// <returns>Whether the result is to be written.</returns>
    static bool Finish(
        ref X87State state, in FloatContext context, FloatExceptions fatal = FloatExceptions.BeforeResult)
    {
        var unmasked = context.Raised & ~context.Masks;
        bool hasResult = (unmasked & FloatExceptions.BeforeResult) == 0;
        state.SetConditions(hasResult && context.IsRoundedUp ? X87State.C1 : 0, X87State.C1);
        if (context.Raised != 0) state.Raise(context.Reported);
        return (unmasked & fatal) == 0;
    }

    /// <summary>The significand's length that the control word asks of sums, products, quotients and roots.</summary>
    static FloatFormat Precision(in X87State state) => (state.Control >> 8 & 3) switch
    {
        0 => FloatFormat.Extended with { Precision = 24 },
        2 => FloatFormat.Extended with { Precision = 53 },
        _ => FloatFormat.Extended,
    };

    /// <summary>A register was needed that is empty (C1 clear), or a free one that is not (C1 set).</summary>
    /// <returns>Whether the exception is masked: the instruction goes on with the indefinite NaN.</returns>
    static bool StackFault(ref X87State state, bool isOverflow)
    {
        state.SetConditions(isOverflow ? X87State.C1 : 0, X87State.C1);
        state.Status |= X87State.StackFault;
        state.Raise(FloatExceptions.Invalid);
        return state.IsMasked(FloatExceptions.Invalid);
    }

    /// <summary>Makes room for a new ST(0), which the caller fills at once.</summary>
    static void Push(ref X87State state, Float80 value)
    {
        state.Top--;
        state[0] = value;
    }

    static void Pop(ref X87State state)
    {
        FreeRegister(ref state, 0);
        state.Top++;
    }

    static void FreeRegister(ref X87State state, int i) => state.Tags &= (byte)~(1 << (state.Top + i & 7));
}
