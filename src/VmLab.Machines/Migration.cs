using VmLab.Core;

namespace VmLab;

/// <summary>When a migrating machine's memory goes.</summary>
public enum MigrationMode
{
    /// <summary>The machine stands still while everything is copied.</summary>
    StopAndCopy,

    /// <summary>All is copied while the machine runs, then in rounds what it dirtied meanwhile, and the rest while it stands still.</summary>
    PreCopy,

    /// <summary>The machine goes first, and its pages follow: those that it touches at once, the others in the background.</summary>
    PostCopy,

    /// <summary>Pre-copy, and post-copy for what is left where that does not converge.</summary>
    Auto,
}

/// <summary>How a machine is to be migrated: a value.</summary>
/// <remarks>Source: Clark et al., "Live Migration of Virtual Machines", NSDI 2005, §3; Hines et al., "Post-Copy Live Migration of Virtual
/// Machines", SIGOPS OSR 43(3), 2009.</remarks>
public sealed record Migration
{
    Migration(MigrationMode mode, TimeSpan downtime) => (Mode, Downtime) = (mode, downtime);

    public MigrationMode Mode { get; private init; }

    /// <summary>How long the machine may stand still. One that would take longer is not completed; stop-and-copy has no limit.</summary>
    public TimeSpan Downtime { get; private init; }

    /// <summary>Whether a machine that dirties faster than can be copied is slowed down, step by step.</summary>
    public bool Throttles { get; private init; }

    /// <summary>Whether pages are compressed on their way, by LZ4.</summary>
    public bool Compresses { get; private init; }

    /// <summary>After how many rounds of pre-copy it counts as not converging.</summary>
    public int MostRounds { get; private init; } = 30;

    /// <summary>How long nothing may arrive before the other side counts as lost.</summary>
    public TimeSpan Patience { get; private init; } = 10.Seconds;

    public static Migration StopAndCopy() => new(MigrationMode.StopAndCopy, Timeout.InfiniteTimeSpan);

    /// <exception cref="ArgumentOutOfRangeException">The downtime is not 1 microsecond to a day.</exception>
    public static Migration PreCopy(TimeSpan downtime) => new(MigrationMode.PreCopy, Budget(downtime));

    /// <inheritdoc cref="PreCopy(TimeSpan)"/>
    public static Migration PostCopy(TimeSpan downtime) => new(MigrationMode.PostCopy, Budget(downtime));

    /// <inheritdoc cref="PreCopy(TimeSpan)"/>
    public static Migration Auto(TimeSpan downtime) => new(MigrationMode.Auto, Budget(downtime));

    /// <inheritdoc cref="PreCopy(TimeSpan)"/>
    /// <param name="downtime">Means nothing to stop-and-copy.</param>
    public static Migration By(MigrationMode mode, TimeSpan downtime) =>
        mode == MigrationMode.StopAndCopy ? StopAndCopy() : new(mode, Budget(downtime));

    /// <summary>Slows the machine down as far as the copying needs: its processor gets less and less of the time.</summary>
    public Migration Throttle() => this with { Throttles = true };

    /// <summary>Compresses pages on their way.</summary>
    public Migration Compress() => this with { Compresses = true };

    /// <param name="most">1 to 1000.</param>
    public Migration Rounds(int most) => this with { MostRounds = Require.InRange(most, 1, 1000) };

    public Migration Patient(TimeSpan patience) => this with { Patience = Require.InRange(patience, 1.Milliseconds, TimeSpan.FromDays(1)) };

    static TimeSpan Budget(TimeSpan downtime) => Require.InRange(downtime, 1.Microseconds, TimeSpan.FromDays(1));
}
