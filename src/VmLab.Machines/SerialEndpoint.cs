using VmLab.Core;

namespace VmLab.Machines;

/// <summary>The outer end of a serial cable: what the guest sent, and what it is to receive.</summary>
public sealed class SerialEndpoint : ISnapshot<SerialEndpoint.State>
{
    /// <summary>What is on its way.</summary>
    [Schema("serial-cable", version: 1)]
    public readonly record struct State(Values<byte> ToGuest);

    readonly Queue<byte> _toGuest = new();
    readonly Action _offered;

    /// <param name="offered">Told when bytes wait for the guest.</param>
    public SerialEndpoint(Action offered) => _offered = offered;

    /// <summary>Called with each byte that the guest sends, while the machine runs, on its thread.</summary>
    public Action<byte>? Received { get; set; }

    /// <summary>Bytes that wait for room in the guest's receive FIFO.</summary>
    public int Waiting => _toGuest.Count;

    /// <summary>Queues bytes for the guest, which takes them as its FIFO has room.</summary>
    public void Send(ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes) _toGuest.Enqueue(value);
        _offered();
    }

    public State Save() => new(new Values<byte>(_toGuest.ToArray()));

    public void Restore(State state)
    {
        _toGuest.Clear();
        foreach (byte value in state.ToGuest) _toGuest.Enqueue(value);
    }

    internal bool TryTake(out byte value) => _toGuest.TryDequeue(out value);
}
