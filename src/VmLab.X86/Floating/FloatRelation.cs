namespace VmLab.X86.Floating;

/// <summary>
/// How two numbers stand to each other; the value is what COMISS and FCOMI leave in RFLAGS (CF 1, PF 4, ZF 0x40).
/// </summary>
/// <remarks>Source: Intel SDM vol. 2, COMISS and FCOMI, tables "Operation".</remarks>
public enum FloatRelation : byte
{
    Greater = 0x00,
    Less = 0x01,
    Equal = 0x40,
    Unordered = 0x45,
}
