using VmLab.Core;

namespace VmLab.X86;

/// <summary>A processor at one moment.</summary>
/// <param name="Registers">The bytes of <see cref="CpuState"/> up to the engines' scratch.</param>
/// <param name="Retired">Counts since power-on.</param>
[Schema("vcpu", version: 1)]
public readonly record struct VcpuState(Values<byte> Registers, ulong Retired);
