namespace VmLab.Tracing;

/// <summary>What the processor was allowed to do while it ran an instruction.</summary>
public enum TraceMode
{
    All,

    /// <summary>Privilege level 3.</summary>
    User,

    /// <summary>Privilege levels 0 to 2.</summary>
    Kernel,
}

/// <summary>Which instructions of a lab's machine are written down, and where to; see <see cref="TraceWriter"/>.</summary>
/// <param name="Output">Stays the caller's, to be closed after the lab.</param>
public sealed record TraceOptions(TextWriter Output)
{
    /// <summary>Name of the machine; <see langword="null"/> for the fleet's first.</summary>
    public string? Machine { get; init; }

    /// <summary>
    /// A linear address (0x...) or a kernel symbol at which the trace goes on; <see langword="null"/> for from power-on.
    /// A symbol is met from the end of the quantum on in which the kernel's symbols can be read.
    /// </summary>
    public string? From { get; init; }

    /// <summary>Where it pauses until <see cref="From"/> is met again.</summary>
    public string? To { get; init; }

    public TraceMode Mode { get; init; }

    /// <summary>Only what the monitor handles: privileged instructions, ports, MMIO, exceptions and interrupts.</summary>
    public bool ExitsOnly { get; init; }

    /// <summary>The most lines.</summary>
    public long Limit { get; init; } = long.MaxValue;
}
