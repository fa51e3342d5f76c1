namespace VmLab.X86.Floating;

/// <summary>The six floating-point exceptions, at the bits they have in MXCSR and in the x87 status word.</summary>
/// <remarks>Source: Intel SDM vol. 1 §4.9.1, §8.5, §11.5.2.</remarks>
[Flags]
public enum FloatExceptions : byte
{
    None = 0,
    Invalid = 0x01,
    Denormal = 0x02,
    ZeroDivide = 0x04,
    Overflow = 0x08,
    Underflow = 0x10,
    Inexact = 0x20,

    /// <summary>
    /// Those found before a result is computed: unmasked, they leave no result and no other exception.
    /// </summary>
    BeforeResult = Invalid | Denormal | ZeroDivide,

    All = BeforeResult | Overflow | Underflow | Inexact,
}
