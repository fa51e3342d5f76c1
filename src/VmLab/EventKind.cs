namespace VmLab;

/// <summary>What sort of thing an event of the timeline is; a report draws each in its own way.</summary>
public enum EventKind
{
    /// <summary>A remark: the script's, or one that nothing else is said of.</summary>
    Note,
    PoweredOn,

    /// <summary>The guest is ready for commands.</summary>
    Up,

    /// <summary>The machine stopped, whatever the reason; a reset is a stop and a power-on.</summary>
    Stopped,
    Paused,
    Continued,
    CommandBegun,
    CommandEnded,

    /// <summary>An injected fault struck, or was lifted.</summary>
    Fault,
    Snapshot,

    /// <summary>The lab became what it was at a moment, or grew from one.</summary>
    Restored,

    /// <summary>A migration began, had another round, or ended.</summary>
    Migration,

    /// <summary>A kernel panic, or an invariant that holds no more.</summary>
    Failure,
}
