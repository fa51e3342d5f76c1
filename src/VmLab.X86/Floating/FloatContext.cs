namespace VmLab.X86.Floating;

/// <summary>How to compute (rounding, masks, treatment of denormals) and what happened: one instruction's dealings with MXCSR.</summary>
/// <remarks>
/// An instruction makes a context from the control register, computes each of its elements with it, and ends with
/// <see cref="Retire"/>. The x87 uses the same context, its control word moved to the places that MXCSR has.
/// Source: Intel SDM vol. 1 §8.1.5 (x87 control word), §10.2.3 (MXCSR), §11.5 (SIMD exceptions).
/// </remarks>
public struct FloatContext
{
    /// <summary>MXCSR after reset: everything masked, nearest even.</summary>
    public const uint DefaultMxcsr = 0x1F80;

    /// <summary>The flags of exceptions that have happened.</summary>
    public const uint ExceptionFlags = 0x3F;

    internal const uint RoundingBits = 3u << RoundingShift, FlushToZeroBit = 1u << 15, DenormalsAreZeroBit = 1u << 6;
    const int RoundingShift = 13, MaskShift = 7;
    const uint InexactFlag = (uint)FloatExceptions.Inexact, InexactMask = InexactFlag << MaskShift;

    FloatExceptions _earlier;   // of the steps that have ended, all masked

    /// <param name="mxcsr">The register as it is, sticky flags included; they spare the fast paths a proof of exactness.</param>
    public FloatContext(uint mxcsr) => Control = mxcsr;

    /// <summary>MXCSR, or an x87 control word in its layout.</summary>
    public uint Control { get; private set; }

    /// <summary>What the computations so far raised, masked or not.</summary>
    public FloatExceptions Raised { get; internal set; }

    /// <summary>The last inexact result is larger in magnitude than the exact one: C1 of the x87.</summary>
    public bool IsRoundedUp { get; internal set; }

    public readonly RoundingMode Rounding => (RoundingMode)(Control >> RoundingShift & 3);
    public readonly FloatExceptions Masks => (FloatExceptions)(Control >> MaskShift) & FloatExceptions.All;
    public readonly bool DenormalsAreZero => (Control & DenormalsAreZeroBit) != 0;

    /// <summary>Tiny results become zero; the bit has no effect while underflow is unmasked.</summary>
    public readonly bool FlushesToZero => (Control & FlushToZeroBit) != 0;

    /// <summary>
    /// What the status flags show in the end: an unmasked exception found before the result keeps those of the result away.
    /// </summary>
    public readonly FloatExceptions Reported =>
        _earlier | ((Raised & ~Masks & FloatExceptions.BeforeResult) == 0 ? Raised : Raised & FloatExceptions.BeforeResult);

    /// <summary>A context with the rounding mode and masks of an x87 control word, nothing flushed.</summary>
    public static FloatContext FromControlWord(ushort control) =>
        new((control & 0x3Fu) << MaskShift | (uint)(control >> 10 & 3) << RoundingShift);

    /// <summary>Adds what was raised to the sticky flags of MXCSR, once for all elements of an instruction.</summary>
    /// <returns>Whether the result may be written; if not, the instruction ends in #XM and changes nothing else.</returns>
    public readonly bool Retire(ref uint mxcsr)
    {
        if ((Raised | _earlier) == 0) return true;
        mxcsr |= (uint)Reported;
        return (Raised & ~Masks) == 0;
    }

    /// <summary>Ends a step of an instruction that has several, as DPPS has: what it raised stays reported whatever follows.</summary>
    /// <returns>Whether there is a next step: an unmasked exception ends the instruction.</returns>
    internal bool EndStep()
    {
        if ((Raised & ~Masks) != 0) return false;
        _earlier |= Raised;
        Raised = 0;
        return true;
    }

    /// <summary>Rounding is nearest, and an inexact result changes nothing: the flag is set already and masked.</summary>
    internal readonly bool IgnoresInexact => AllowsUsual(Control);

    /// <summary>As <see cref="IgnoresInexact"/>, before there is a context.</summary>
    internal static bool AllowsUsual(uint mxcsr) =>
        (mxcsr & (RoundingBits | InexactMask | InexactFlag)) == (InexactMask | InexactFlag);

    internal readonly bool IsMasked(FloatExceptions exception) => (Masks & exception) != 0;

    internal void Forget(FloatExceptions exceptions)
    {
        Raised &= ~exceptions;
        IsRoundedUp = false;
    }

    internal void Raise(FloatExceptions exceptions) => Raised |= exceptions;

    internal readonly FloatContext WithRounding(RoundingMode rounding) =>
        this with { Control = Control & ~RoundingBits | (uint)rounding << RoundingShift };
}
