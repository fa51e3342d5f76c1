namespace VmLab.X86.Floating;

/// <summary>The comparisons of CMPPS and its kin, as the low three bits of the immediate encode them.</summary>
/// <remarks>
/// Less, LessOrEqual and their negations signal any NaN, the others only a signaling one. Source: Intel SDM vol. 2,
/// CMPPS, table 3-1.
/// </remarks>
public enum FloatPredicate : byte
{
    Equal = 0,
    Less = 1,
    LessOrEqual = 2,
    Unordered = 3,
    NotEqual = 4,
    NotLess = 5,
    NotLessOrEqual = 6,
    Ordered = 7,
}
