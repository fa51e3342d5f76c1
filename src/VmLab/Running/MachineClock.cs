using VmLab.Core;
using VmLab.Faults;

namespace VmLab.Running;

/// <summary>How lab time leads to machine time: from a point on, at a rate.</summary>
/// <param name="LabBase">Lab time of the point, in nanoseconds.</param>
/// <param name="MachineBase">Machine time of the point.</param>
/// <param name="Drift">By how many parts in a million machine time runs faster.</param>
[Schema("machine-clock", version: 1)]
readonly record struct MachineClock(ulong LabBase, ulong MachineBase, int Drift)
{
    const int Million = 1_000_000;

    /// <summary>Whether a fault could have set it so.</summary>
    public bool IsSound => Drift is >= ClockFaults.LeastDrift and <= ClockFaults.MostDrift;

    ulong Rate => (ulong)(Million + Drift);

    /// <summary>Machine time at a lab time, which the machine has not passed.</summary>
    public ulong MachineAt(ulong lab) => Drift == 0
        ? lab - LabBase + MachineBase
        : (ulong)((UInt128)(lab - LabBase) * Rate / Million) + MachineBase;

    /// <summary>The first lab time at which the machine has reached a machine time; the end of time where that is past it.</summary>
    public ulong LabAt(ulong machine)
    {
        UInt128 passed = machine - MachineBase;
        UInt128 lab = (Drift == 0 ? passed : (passed * Million + Rate - 1) / Rate) + LabBase;
        return lab < ulong.MaxValue ? (ulong)lab : ulong.MaxValue;
    }

    /// <summary>The clock of a machine that stood still for so long.</summary>
    public MachineClock Delayed(ulong nanoseconds) => this with { LabBase = LabBase + nanoseconds };

    public MachineClock JumpedAhead(ulong nanoseconds) => this with { MachineBase = MachineBase + nanoseconds };

    /// <summary>Another rate from a machine time on.</summary>
    public MachineClock WithDrift(ulong machine, int drift) => new(LabAt(machine), machine, drift);
}
