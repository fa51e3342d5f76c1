namespace VmLab.X86.Floating;

/// <summary>
/// Control, and MMX's way into the same registers. Source: Intel SDM vol. 1 §8.3.11, §9.2, §9.6; vol. 3A §14.
/// </summary>
public static partial class X87
{
    /// <summary>FNINIT: the registers keep their bits and become empty.</summary>
    public static void Initialize(ref X87State state) => state = X87State.Initial with { Registers = state.Registers };

    /// <summary>
    /// FNCLEX: no exception, stack fault or summary is left; the condition codes stay, as hardware has it.
    /// </summary>
    public static void ClearExceptions(ref X87State state) =>
        state.Status &= unchecked((ushort)~(X87State.Busy | X87State.ErrorSummary | X87State.StackFault
            | (ushort)FloatExceptions.All));

    /// <summary>FLDCW: what was flagged may become unmasked, and so pending.</summary>
    public static void LoadControlWord(ref X87State state, ushort value)
    {
        state.Control = (ushort)(value & DefinedControl | AlwaysSetControl);
        state.Summarize();
    }

    /// <summary>FFREE; with a pop, FFREEP (DF C0, undocumented).</summary>
    public static void Free(ref X87State state, int i, bool pops)
    {
        state.SetConditions(0, X87State.C1);
        FreeRegister(ref state, i);
        if (pops) Pop(ref state);
    }

    /// <summary>FINCSTP: the tags stay.</summary>
    public static void IncrementTop(ref X87State state)
    {
        state.Top++;
        state.SetConditions(0, X87State.C1);
    }

    /// <summary>FDECSTP: the tags stay.</summary>
    public static void DecrementTop(ref X87State state)
    {
        state.Top--;
        state.SetConditions(0, X87State.C1);
    }

    /// <summary>What every MMX instruction but EMMS does: TOP becomes 0 and all registers are in use.</summary>
    public static void EnterMmx(ref X87State state)
    {
        state.Top = 0;
        state.Tags = 0xFF;
    }

    public static ulong ReadMmx(in X87State state, int i) => state.Registers[i].Significand;

    /// <summary>Writes an MMX register; the sixteen bits above it become ones. The caller has entered MMX.</summary>
    public static void WriteMmx(ref X87State state, int i, ulong value) => state.Registers[i] = new(value, 0xFFFF);

    /// <summary>EMMS: all registers are empty.</summary>
    public static void LeaveMmx(ref X87State state)
    {
        state.Top = 0;
        state.Tags = 0;
    }

    /// <summary>Whether a control word is one that the x87 may hold.</summary>
    public static bool IsControl(ushort word) => (word & ~DefinedControl) == AlwaysSetControl;

    // Bit 6 reads as one; bits 7, 13, 14 and 15 as zero; bit 12, infinity control, does nothing.
    const ushort DefinedControl = 0x1F3F, AlwaysSetControl = 0x0040;
}
