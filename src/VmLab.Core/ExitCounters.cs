using VmLab.Core;

namespace VmLab;

/// <summary>Why control came to the monitor.</summary>
public enum ExitReason
{
    PortRead,
    PortWrite,
    MmioRead,
    MmioWrite,
    MsrRead,
    MsrWrite,
    Cpuid,
    ControlRegister,
    PageFault,
    Exception,
    Interrupt,
    Halt,
    TlbRefill,
    CodeWrite,
    PageTableWrite,

    /// <summary>A hardware task switch, which the processor refuses.</summary>
    TaskSwitch,
}

/// <summary>How often control came to the monitor, by reason. No part of the state hash.</summary>
public sealed class ExitCounters : ISnapshot<ExitCounters.State>
{
    /// <summary>The counts, in the order of the reasons.</summary>
    [Schema("exits", version: 1)]
    public readonly record struct State(Values<ulong> Counts);

    readonly ulong[] _counts = new ulong[Enum.GetValues<ExitReason>().Length];

    public ulong this[ExitReason reason] => _counts[(int)reason];

    /// <summary>All reasons that occurred, most frequent first.</summary>
    public IReadOnlyList<(ExitReason Reason, ulong Count)> All =>
        [.. Enum.GetValues<ExitReason>().Select(reason => (reason, this[reason]))
            .Where(pair => pair.Item2 > 0).OrderByDescending(pair => pair.Item2)];

    public void Add(ExitReason reason, ulong count = 1) => _counts[(int)reason] += count;

    public State Save() => new(new Values<ulong>(_counts));

    public void Restore(State state) => state.Counts.Span.CopyTo(_counts);
}
