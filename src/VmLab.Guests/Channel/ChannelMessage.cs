namespace VmLab.Guests.Channel;

/// <summary>What the agent in a guest says to the lab.</summary>
/// <param name="Id">Of the request that it answers; 0 where it answers none.</param>
public abstract record ChannelMessage(uint Id);

/// <summary>The agent has started, or answers a Hello. When it started, everything asked before is forgotten.</summary>
/// <param name="Version">Of the agent's protocol.</param>
/// <param name="IsStart">Whether the agent has just started.</param>
public sealed record ChannelReady(uint Version, bool IsStart) : ChannelMessage(0);

/// <summary>Bytes of a command's standard output.</summary>
public sealed record ChannelOutput(uint Id, ReadOnlyMemory<byte> Bytes) : ChannelMessage(Id);

/// <summary>Bytes of a command's standard error.</summary>
public sealed record ChannelError(uint Id, ReadOnlyMemory<byte> Bytes) : ChannelMessage(Id);

/// <summary>A command has ended; all that it wrote came before.</summary>
/// <param name="Code">Exit code; 128 and the signal's number for one that a signal ended.</param>
public sealed record ChannelExited(uint Id, int Code) : ChannelMessage(Id);

/// <summary>The next bytes of a file.</summary>
public sealed record ChannelFileContent(uint Id, ReadOnlyMemory<byte> Bytes) : ChannelMessage(Id);

/// <summary>A file has been read to its end.</summary>
/// <param name="Mode">Its permissions.</param>
public sealed record ChannelFileEnd(uint Id, uint Mode) : ChannelMessage(Id);

/// <summary>A file has been written.</summary>
public sealed record ChannelStored(uint Id) : ChannelMessage(Id);

/// <summary>A request failed, and is over.</summary>
/// <param name="ErrorNumber">The guest kernel's, as in errno.</param>
/// <param name="Reason">The same in words.</param>
public sealed record ChannelFailed(uint Id, int ErrorNumber, string Reason) : ChannelMessage(Id);

/// <summary>How many bytes the agent has taken off the line since it started, modulo 2^32: for
/// <see cref="ChannelOutbox"/>.</summary>
public sealed record ChannelTaken(uint Total) : ChannelMessage(0);
