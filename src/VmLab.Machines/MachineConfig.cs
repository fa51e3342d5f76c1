using System.Collections.Immutable;
using VmLab.Guests;

namespace VmLab.Machines;

/// <summary>A machine to be.</summary>
/// <param name="Seed">Of the machine's random streams.</param>
public sealed record MachineConfig(string Name, ByteSize Memory, IBootable Guest, ulong Seed)
{
    /// <summary>What the machine has besides what every PC has, in the order of its PCI slots.</summary>
    public ImmutableArray<DeviceSpec> Devices { get; init; } = [];

    public Engine Engine { get; init; }

    /// <summary>Counts after which a lab holds it against the interpreter (see <see cref="Machines.Lockstep"/>), or <see langword="null"/>.</summary>
    public ulong? Lockstep { get; init; }
}

public enum MachineStatus
{
    Running,

    /// <summary>Switched off by the guest through ACPI, or from outside.</summary>
    PoweredOff,

    /// <summary>A triple fault: the processor shut down, which this machine reports rather than resets.</summary>
    TripleFault,

    /// <summary>The guest asked for a reset.</summary>
    Reset,

    /// <summary>Every processor halts with interrupts off and nothing can wake it.</summary>
    Stuck,

    /// <summary>It was migrated to a host that is another process, and runs there.</summary>
    Departed,
}
