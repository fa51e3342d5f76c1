namespace VmLab.X86.Floating;

/// <summary>
/// The arithmetic of the x87 with two operands, as ModRM's reg field encodes it in D8 (2 and 3 are comparisons).
/// </summary>
/// <remarks>
/// "Reversed" computes source op destination. Mind that DC and DE swap the encodings of the reversed register forms: DC
/// E0 is
/// <see cref="SubtractReversed"/>. Source: Intel SDM vol. 2, FADD to FSUBR, and appendix A, tables.
/// </remarks>
public enum X87Operation : byte
{
    Add = 0,
    Multiply = 1,
    Subtract = 4,
    SubtractReversed = 5,
    Divide = 6,
    DivideReversed = 7,
}
