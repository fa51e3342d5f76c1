using VmLab.Core;

namespace VmLab.Guests.Channel;

/// <summary>Holds requests back until the guest has room: the serial line has no flow control of its own.</summary>
/// <remarks>
/// At most <see cref="Window"/> bytes are on their way; the guest's kernel keeps ten times that. Use: after each Post
/// and each message fed to <see cref="Notice"/>, send what <see cref="Take"/> returns. Memory is what was posted and
/// not yet taken.
/// </remarks>
public sealed class ChannelOutbox : ISnapshot<ChannelOutbox.State>
{
    /// <summary>What waits, how much of the first request is sent, and how much went and was taken, modulo 2^32.</summary>
    [Schema("channel-outbox", version: 1)]
    public readonly record struct State(Values<Values<byte>> Requests, int Position, uint Sent, uint Taken);

    /// <summary>Most bytes sent and not yet reported as taken.</summary>
    public const int Window = 64 << 10;

    readonly Queue<byte[]> _requests = new();
    int _position;
    uint _sent, _taken;

    /// <summary>Whether something waits to be sent.</summary>
    public bool IsEmpty => _requests.Count == 0;

    public void Post(byte[] request)
    {
        if (request.Length > 0) _requests.Enqueue(request);
    }

    /// <summary>Learns from a message how much the guest has taken; an agent that starts anew has taken nothing, and is
    /// owed nothing.</summary>
    public void Notice(ChannelMessage message)
    {
        switch (message)
        {
            case ChannelTaken taken: _taken = taken.Total; break;
            case ChannelReady { IsStart: true }: Restart(); break;
        }
    }

    /// <summary>Returns what may be sent now; empty when nothing waits or the window is full.</summary>
    public byte[] Take()
    {
        // A guest may claim what it likes: more taken than sent is no more than an empty line.
        int underWay = Math.Clamp((int)(_sent - _taken), 0, Window);
        var part = new List<byte>();
        while (_requests.TryPeek(out byte[]? request) && part.Count < Window - underWay)
        {
            int count = Math.Min(request.Length - _position, Window - underWay - part.Count);
            part.AddRange(request.AsSpan(_position, count));
            _position += count;
            if (_position < request.Length) break;
            _requests.Dequeue();
            _position = 0;
        }
        _sent += (uint)part.Count;
        return [.. part];
    }

    /// <summary>Drops all that waits: after the machine was reset or switched off.</summary>
    public void Clear()
    {
        _requests.Clear();
        (_position, _sent, _taken) = (0, 0, 0);
    }

    public State Save() => new(
        new Values<Values<byte>>([.. _requests.Select(request => new Values<byte>(request))]), _position, _sent, _taken);

    public void Restore(State state)
    {
        _requests.Clear();
        foreach (Values<byte> request in state.Requests) _requests.Enqueue(request.Span.ToArray());
        (_position, _sent, _taken) = (state.Position, state.Sent, state.Taken);
    }

    // The rest of a request whose beginning went to the agent's predecessor would be garbage.
    void Restart()
    {
        if (_position > 0) _requests.Dequeue();
        (_position, _sent, _taken) = (0, 0, 0);
    }
}
