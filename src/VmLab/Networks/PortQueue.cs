using VmLab.Core;
using VmLab.Devices.Virtio;

namespace VmLab.Networks;

/// <summary>The way from a network to one of its machines: frames that wait for the cable, and frames on it.</summary>
/// <remarks>The lab puts frames in between quanta; the machine takes them on its own thread in a quantum.</remarks>
sealed class PortQueue(int length) : ISnapshot<PortQueue.State>
{
    /// <param name="BusyUntil">Lab time, in nanoseconds, at which the cable is free.</param>
    /// <param name="LastArrival">Of the last frame that was not held back.</param>
    /// <param name="Departures">When each of the frames that wait will have left.</param>
    [Schema("port-queue", version: 1)]
    public readonly record struct State(ulong BusyUntil, ulong LastArrival, Values<ulong> Departures, Values<InFlight> Frames);

    /// <summary>A frame under way.</summary>
    /// <param name="ArrivesAt">Lab time, in nanoseconds.</param>
    /// <param name="Sequence">Its number on the network.</param>
    public readonly record struct InFlight(ulong ArrivesAt, ulong Sequence, Values<byte> Frame);

    /// <summary>The most bytes under way; further frames are dropped.</summary>
    public const int MostBytes = 64 << 20;

    readonly Queue<ulong> _departures = [];
    readonly PriorityQueue<InFlight, (ulong Time, ulong Sequence)> _frames = new();
    ulong _busyUntil, _lastArrival;
    long _bytes;

    /// <summary>Whether the machine has power: else what is sent to it is dropped.</summary>
    public bool IsOn { get; set; } = true;

    /// <summary>Whether the machine's cable is plugged in.</summary>
    public bool IsUp { get; set; } = true;

    /// <summary>Lab time of the next arrival, in nanoseconds.</summary>
    public ulong NextAt => _frames.TryPeek(out _, out var when) ? when.Time : ulong.MaxValue;

    /// <summary>Puts a frame on its way.</summary>
    /// <param name="service">How long it occupies the cable, in nanoseconds.</param>
    /// <param name="latency">How long it takes besides.</param>
    /// <param name="overtaken">How long it is held back while later ones go by.</param>
    /// <returns><see langword="false"/>: it was dropped.</returns>
    public bool TryPut(ulong time, ulong service, ulong latency, ulong overtaken, Values<byte> frame, ulong sequence)
    {
        while (_departures.TryPeek(out ulong departed) && departed <= time) _departures.Dequeue();
        if (!IsOn || _departures.Count >= length || _bytes + frame.Count > MostBytes) return false;
        _busyUntil = Math.Max(time, _busyUntil) + service;
        _departures.Enqueue(_busyUntil);
        ulong arrival = Math.Max(_busyUntil + latency, _lastArrival);
        if (overtaken == 0) _lastArrival = arrival;
        Put(new InFlight(arrival + overtaken, sequence, frame));
        return true;
    }

    /// <summary>Takes the next frame that has arrived by now.</summary>
    public bool TryTake(ulong now, out Values<byte> frame)
    {
        frame = default;
        if (NextAt > now) return false;
        frame = _frames.Dequeue().Frame;
        _bytes -= frame.Count;
        return true;
    }

    /// <summary>The machine stood still: what arrived in the meantime arrives now.</summary>
    public void HoldUntil(ulong now)
    {
        var early = new List<InFlight>();
        while (NextAt < now) early.Add(_frames.Dequeue());
        foreach (InFlight flight in early) _frames.Enqueue(flight with { ArrivesAt = now }, (now, flight.Sequence));
    }

    public State Save() => new(
        _busyUntil, _lastArrival, [.. _departures],
        [.. _frames.UnorderedItems.OrderBy(item => item.Priority).Select(item => item.Element)]);

    public void Restore(State state)
    {
        (_busyUntil, _lastArrival, _bytes) = (state.BusyUntil, state.LastArrival, 0);
        _departures.Clear();
        foreach (ulong departure in state.Departures) _departures.Enqueue(departure);
        _frames.Clear();
        foreach (InFlight flight in state.Frames)
        {
            if (flight.Frame.Count > VirtioNet.LongestFrame)
                throw new LabException("A frame under way is longer than any can be: take the moment anew.");
            Put(flight);
        }
    }

    void Put(InFlight flight)
    {
        _frames.Enqueue(flight, (flight.ArrivesAt, flight.Sequence));
        _bytes += flight.Frame.Count;
    }
}
