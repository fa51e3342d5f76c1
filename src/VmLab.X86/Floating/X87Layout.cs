namespace VmLab.X86.Floating;

/// <summary>How FNSTENV and FNSAVE lay the environment out: by operand size, and by real or protected mode.</summary>
/// <remarks>
/// Source: Intel SDM vol. 1 §8.1.10, figures 8-9 to 8-12. Long mode is <see cref="Protected32"/>, or with a 66 prefix
/// 16.
/// </remarks>
public enum X87Layout : byte { Protected32, Real32, Protected16, Real16 }
