using System.Collections.Immutable;

namespace VmLab;

/// <summary>Why translated code handed over to the interpreter.</summary>
public enum EngineExit
{
    /// <summary>A jump or a fall within a page met its next block for the first time; from now on it leads there.</summary>
    Link,

    /// <summary>The next block is to be looked up or decoded, or the counts left are too few for it.</summary>
    Search,

    /// <summary>The next block has no translation, or not yet.</summary>
    Block,

    /// <summary>An instruction missed the TLB, stored to a page under protection, or has no translation.</summary>
    Instruction,
}

/// <summary>What a machine's engine has done since the machine was made: by a power-on, or by a lab that grew from a moment.</summary>
/// <remarks>It depends on the engine and the host. It is no part of hashes, moments or reports, and no restore takes it back.</remarks>
public sealed record EngineCounters
{
    /// <summary>Blocks translated; one whose code was dropped or changed counts again.</summary>
    public ulong TranslatedBlocks { get; init; }

    /// <summary>Code of the host that there is at present.</summary>
    public ByteSize Code { get; init; }

    /// <summary>How often all code was dropped: there was no more room, or the state was changed from outside.</summary>
    public ulong Flushes { get; init; }

    /// <summary>How often translated code was left, by reason.</summary>
    public ImmutableArray<(EngineExit Reason, ulong Count)> Exits { get; init; } = [];

    /// <summary>Counts that were run, also those that a restore took back.</summary>
    public ulong Run { get; init; }

    /// <summary>Time of the host that they took, devices included.</summary>
    public TimeSpan HostTime { get; init; }

    /// <summary>Millions of counts a second of the host; 0 before anything ran.</summary>
    public double Mips => HostTime > TimeSpan.Zero ? Run / HostTime.TotalSeconds / 1e6 : 0;

    /// <summary>How often translated code was left for a reason.</summary>
    public ulong this[EngineExit reason] => Exits.FirstOrDefault(exit => exit.Reason == reason).Count;
}
