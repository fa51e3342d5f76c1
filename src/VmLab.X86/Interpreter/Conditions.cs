namespace VmLab.X86;

/// <summary>A condition code. Source: Intel SDM vol. 1 appendix B.</summary>
unsafe interface ICondition
{
    static abstract bool IsMet(CpuState* s);
}

unsafe struct IfOverflow : ICondition
{
    public static bool IsMet(CpuState* s) => Flags.Overflow(s);
}

unsafe struct IfBelow : ICondition
{
    public static bool IsMet(CpuState* s) => Flags.Carry(s);
}

unsafe struct IfEqual : ICondition
{
    public static bool IsMet(CpuState* s) => Flags.Zero(s);
}

unsafe struct IfBelowOrEqual : ICondition
{
    public static bool IsMet(CpuState* s) => Flags.Carry(s) | Flags.Zero(s);
}

unsafe struct IfSign : ICondition
{
    public static bool IsMet(CpuState* s) => Flags.Sign(s);
}

unsafe struct IfParity : ICondition
{
    public static bool IsMet(CpuState* s) => Flags.Parity(s);
}

unsafe struct IfLess : ICondition
{
    public static bool IsMet(CpuState* s) => Flags.Sign(s) != Flags.Overflow(s);
}

unsafe struct IfLessOrEqual : ICondition
{
    public static bool IsMet(CpuState* s) => Flags.Zero(s) | Flags.Sign(s) != Flags.Overflow(s);
}

/// <summary>The opposite of a condition.</summary>
unsafe struct Unless<TCondition> : ICondition
    where TCondition : ICondition
{
    public static bool IsMet(CpuState* s) => !TCondition.IsMet(s);
}
