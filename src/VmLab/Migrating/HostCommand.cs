using VmLab.Machines.Migrating;

namespace VmLab.Migrating;

/// <summary>What a host is asked to do.</summary>
/// <param name="Session">Of the migration that is to be settled.</param>
/// <param name="Machine">That is to go.</param>
/// <param name="To">The address of the host that it is to go to.</param>
sealed record HostCommand(string Session, string Machine, string To, Migration? Plan)
{
    /// <summary>Whether the machine of a broken migration runs there; if not, it never will.</summary>
    public static MigrationMessage Settle(string session) => Write(new HostCommand(session, "", "", null));

    public static MigrationMessage Migrate(string machine, string to, Migration plan) => Write(new HostCommand("", machine, to, plan));

    public static HostCommand Of(MigrationMessage message) => MigrationCodec.ReadRecord<HostCommand>(message.Body);

    static MigrationMessage Write(HostCommand command) => new(MigrationMessageKind.Command, MigrationCodec.Record(command));
}

/// <summary>What a host answers.</summary>
/// <param name="Failure">Why it did not do it; else empty.</param>
/// <param name="HasTaken">The machine runs there, or ran.</param>
/// <param name="IsWhole">None of its pages is missing there.</param>
sealed record HostAnswer(string Failure, bool HasTaken, bool IsWhole, MigrationReport? Report)
{
    public MigrationMessage Write() => new(MigrationMessageKind.Answer, MigrationCodec.Record(this));

    /// <exception cref="LabException">It is none.</exception>
    public static HostAnswer Of(MigrationMessage message) => message.Kind == MigrationMessageKind.Answer
        ? MigrationCodec.ReadRecord<HostAnswer>(message.Body)
        : throw new LabException($"A host answers by a {message.Kind}.");
}
