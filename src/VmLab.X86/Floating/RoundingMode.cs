namespace VmLab.X86.Floating;

/// <summary>Where a result goes that lies between two numbers of its format, as the two RC bits encode it.</summary>
/// <remarks>Source: Intel SDM vol. 1 §4.8.4, table 4-8.</remarks>
public enum RoundingMode : byte
{
    NearestEven = 0,
    Down = 1,
    Up = 2,
    TowardZero = 3,
}
