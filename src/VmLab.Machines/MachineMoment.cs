using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.X86;

namespace VmLab.Machines;

/// <summary>A machine at one moment: immutable, good for any number of restores and forks.</summary>
/// <param name="Devices">The record of each chip, in the order in which the machine keeps them.</param>
/// <param name="Disks">In the order of the machine's configuration.</param>
public sealed record MachineMoment(
    MemoryMoment Memory, MachineState State, IReadOnlyList<ValueType> Devices, IReadOnlyList<DiskMoment> Disks) : IDisposable
{
    /// <summary>Lets go of the memory that the moment alone still holds.</summary>
    public void Dispose() => Memory.Dispose();
}

/// <summary>What a machine remembers beside its memory and its chips.</summary>
/// <param name="Now">Machine time, in nanoseconds.</param>
[Schema("machine", version: 1)]
public readonly record struct MachineState(
    ulong Now, MachineStatus Status, bool IsStalled, VcpuState Cpu, ExitCounters.State Exits,
    SerialEndpoint.State Console, SerialEndpoint.State Channel);
