using VmLab.Core;
using VmLab.Guests.Channel;

namespace VmLab.Running;

/// <summary>Something asked of the agent in a guest: a command, or a file to write or read.</summary>
/// <param name="command">What runs, where it is a command.</param>
sealed class ChannelTask(uint id, string? command)
{
    /// <summary>A task under way.</summary>
    [Schema("channel-task", version: 1)]
    public readonly record struct State(uint Id, string? Command, Values<byte> Output, Values<byte> Error);

    /// <summary>Most bytes that a guest may send for one task; a command that prints more is cut off.</summary>
    public const int MostBytes = 256 << 20;

    readonly MemoryStream _output = new(), _error = new();

    public ChannelTask(State state) : this(state.Id, state.Command)
    {
        _output.Write(state.Output.Span);
        _error.Write(state.Error.Span);
    }

    public uint Id => id;

    public string? Command => command;

    public bool IsDone { get; private set; }

    /// <summary>The machine was switched off or reset before the task was done.</summary>
    public bool HasLostPower { get; private set; }

    /// <summary>Why the guest could not do it; <see langword="null"/> if it could.</summary>
    public string? Failure { get; private set; }

    public int ExitCode { get; private set; } = -1;

    /// <summary>A command's standard output, or a file's content.</summary>
    public byte[] Output => _output.ToArray();

    public byte[] Error => _error.ToArray();

    /// <summary>Takes a message about this task, and says whether the task is done now.</summary>
    public bool Take(ChannelMessage message)
    {
        switch (message)
        {
            case ChannelOutput output: Append(_output, output.Bytes); break;
            case ChannelError error: Append(_error, error.Bytes); break;
            case ChannelFileContent content: Append(_output, content.Bytes); break;
            case ChannelExited exited: (ExitCode, IsDone) = (exited.Code, true); break;
            case ChannelFailed failed: (Failure, IsDone) = (failed.Reason, true); break;
            case ChannelStored or ChannelFileEnd: IsDone = true; break;
        }
        return IsDone;
    }

    public State Save() => new(id, command, new Values<byte>(Output), new Values<byte>(Error));

    public void LosePower() => HasLostPower = IsDone = true;

    void Append(MemoryStream stream, ReadOnlyMemory<byte> bytes)
    {
        if (_output.Length + _error.Length + bytes.Length <= MostBytes) stream.Write(bytes.Span);
        else (Failure, IsDone) = ($"it sent more than {MostBytes >> 20} MiB", true);
    }
}
