using VmLab.Core;
using VmLab.Guests.Channel;

namespace VmLab.Running;

/// <summary>
/// The lab's end of a machine's command channel: what was asked of the agent in the guest, and what came of it.
/// </summary>
/// <param name="send">Hands bytes to the guest's second serial port.</param>
sealed class CommandChannel(Action<byte[]> send) : ISnapshot<CommandChannel.State>
{
    /// <summary>What is under way in both directions.</summary>
    /// <param name="Held">What is asked of a guest that does not listen yet.</param>
    [Schema("command-channel", version: 1)]
    public readonly record struct State(
        bool IsReady, uint LastId, Values<ChannelTask.State> Tasks, Values<Values<byte>> Held,
        ChannelDecoder.State Decoder, ChannelOutbox.State Outbox);

    readonly ChannelDecoder _decoder = new();
    readonly ChannelOutbox _outbox = new();
    readonly Dictionary<uint, ChannelTask> _tasks = [];
    readonly List<byte[]> _held = [];
    uint _lastId;

    /// <summary>The agent has said that it is there.</summary>
    public bool IsReady { get; private set; }

    /// <summary>The commands under way, oldest first.</summary>
    public IEnumerable<ChannelTask> Commands => _tasks.Values.Where(task => task.Command is not null).OrderBy(task => task.Id);

    public ChannelTask Run(string command) => Ask(id => ChannelRequest.Run(id, command), command);

    public ChannelTask Put(string path, byte[] content, uint mode) => Ask(id => ChannelRequest.Put(id, path, content, mode));

    public ChannelTask Get(string path) => Ask(id => ChannelRequest.Get(id, path));

    /// <summary>Ends a command in the guest, and waits no more for what comes of it.</summary>
    public void Abandon(ChannelTask task)
    {
        if (_tasks.Remove(task.Id)) Post(ChannelRequest.Kill(task.Id));
    }

    /// <summary>Takes a byte that the guest sent.</summary>
    /// <returns>The task that it completes, or <see langword="null"/>.</returns>
    public ChannelTask? Receive(byte value)
    {
        foreach (ChannelMessage message in _decoder.Feed([value]))
        {
            _outbox.Notice(message);
            if (message is ChannelReady) Welcome();
            Flush();
            if (_tasks.TryGetValue(message.Id, out ChannelTask? task) && task.Take(message))
            {
                _tasks.Remove(task.Id);
                return task;
            }
        }
        return null;
    }

    /// <summary>The machine was switched off or reset: nothing that was asked will be answered.</summary>
    public void LosePower()
    {
        foreach (ChannelTask task in _tasks.Values) task.LosePower();
        _tasks.Clear();
        _held.Clear();
        _outbox.Clear();
        _decoder.Reset();
        IsReady = false;
    }

    public State Save() => new(
        IsReady, _lastId, new Values<ChannelTask.State>([.. _tasks.Values.OrderBy(task => task.Id).Select(task => task.Save())]),
        new Values<Values<byte>>([.. _held.Select(request => new Values<byte>(request))]), _decoder.Save(), _outbox.Save());

    public void Restore(State state)
    {
        (IsReady, _lastId) = (state.IsReady, state.LastId);
        _tasks.Clear();
        foreach (ChannelTask.State task in state.Tasks) _tasks.Add(task.Id, new ChannelTask(task));
        _held.Clear();
        _held.AddRange(state.Held.Select(request => request.Span.ToArray()));
        _decoder.Restore(state.Decoder);
        _outbox.Restore(state.Outbox);
    }

    ChannelTask Ask(Func<uint, byte[]> encode, string? command = null)
    {
        var task = new ChannelTask(++_lastId, command);
        byte[] request = encode(task.Id);
        _tasks.Add(task.Id, task);
        Post(request);
        return task;
    }

    // Until the guest listens, what is sent to it is lost.
    void Post(byte[] request)
    {
        if (!IsReady)
        {
            _held.Add(request);
            return;
        }
        _outbox.Post(request);
        Flush();
    }

    void Welcome()
    {
        IsReady = true;
        foreach (byte[] request in _held) _outbox.Post(request);
        _held.Clear();
    }

    void Flush()
    {
        byte[] bytes = _outbox.Take();
        if (bytes.Length > 0) send(bytes);
    }
}
