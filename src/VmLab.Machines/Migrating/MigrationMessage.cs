namespace VmLab.Machines.Migrating;

/// <summary>What a message of a migration says.</summary>
enum MigrationMessageKind : byte
{
    /// <summary>Source: what the machine is that is to come.</summary>
    Offer = 1,

    /// <summary>Destination: it may come.</summary>
    Accepted,

    /// <summary>Destination: it may not, and why.</summary>
    Refused,

    /// <summary>Source: pages of memory, or chunks of a disk.</summary>
    Pages,

    /// <summary>Source: a round is over.</summary>
    RoundEnd,

    /// <summary>Destination: all of the round is here.</summary>
    RoundTaken,

    /// <summary>Source: the machine stands still, and this is all of it that was missing.</summary>
    State,

    /// <summary>Destination: the machine stands here, and could run.</summary>
    Ready,

    /// <summary>Source: the machine stood still for too long and runs here again; forget its state.</summary>
    Back,

    /// <summary>Source: run it. From here on the source may not, until it knows that the destination does not.</summary>
    Commit,

    /// <summary>Destination: it runs here.</summary>
    Taken,

    /// <summary>Destination: too late, it does not run here and will not.</summary>
    Expired,

    /// <summary>Source: there will be no migration.</summary>
    Abandon,

    /// <summary>Destination: the machine waits for this page.</summary>
    Wanted,

    /// <summary>Source: no page is missing any more.</summary>
    Complete,

    /// <summary>Destination: all of the machine is here; the source may forget it.</summary>
    Whole,

    /// <summary>To a host, and no part of a migration: it is to do something.</summary>
    Command,

    /// <summary>A host's answer to a command.</summary>
    Answer,
}

/// <summary>A message of a migration, as it was before it was sealed. Who gives one out says how long its body is good.</summary>
readonly record struct MigrationMessage(MigrationMessageKind Kind, ReadOnlyMemory<byte> Body);

/// <summary>What came over a wire is no message of a migration, or not at its place.</summary>
sealed class MigrationException(string message) : LabException(message);
