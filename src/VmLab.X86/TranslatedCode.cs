namespace VmLab.X86;

/// <summary>A block of guest code that was translated, as bytes to disassemble.</summary>
/// <param name="Count">Instructions of the guest.</param>
/// <param name="HostAddress">Where the host runs it.</param>
public sealed record TranslatedCode(int Count, byte[] Guest, ulong HostAddress, byte[] Host);
