namespace VmLab.Introspection;

/// <summary>A name in a guest's kernel.</summary>
/// <param name="Address">Linear address as the guest runs it; of a per-processor variable, its offset in a processor's area.</param>
/// <param name="Type">As nm has it: T for text, D for data, B for zeroed data, A for an absolute number; small for local.</param>
/// <param name="Module">The loaded module it belongs to, or <see langword="null"/>: the kernel itself.</param>
public readonly record struct KernelSymbol(string Name, ulong Address, char Type, string? Module = null);
