using VmLab.Core;

namespace VmLab.Networks;

/// <summary>One network at work: a switch with a port for each machine, and the frames between them.</summary>
/// <remarks>
/// Simplified: what leaves a card is at the switch at once; rate, queue, latency and jitter are those of the way from
/// the switch to the receiver. A frame takes 24 bytes more on the cable than it has, and at least 84: preamble, check
/// sequence, gap. Source: IEEE 802.3 §4.2 (media access), IEEE 802.1D §7.8, §7.9 (learning, filtering database).
/// </remarks>
/// <param name="meddle">Makes of each frame's way to each receiver what faults make of it.</param>
sealed class Segment(LinkSpec spec, NetworkHost host, Rng random, Action<Passage> meddle) : ISnapshot<Segment.State>
{
    /// <summary>All that a network remembers but its counters and faults.</summary>
    [Schema("segment", version: 1)]
    public readonly record struct State(Values<PortQueue.State> Ports, Values<Learned> Table, Rng Random, ulong Sequence);

    /// <summary>Where an address was last seen.</summary>
    public readonly record struct Learned(MacAddress Address, int Port, ulong SeenAt);

    /// <summary>How many addresses the switch remembers; further ones are as unknown.</summary>
    public const int MostLearned = 1024;

    /// <summary>After how long, in nanoseconds, an address is forgotten that sends no more.</summary>
    public const ulong Ageing = 300_000_000_000;

    const int HeaderLength = 14, CableOverhead = 24, LeastOnCable = 84;

    readonly ulong _latency = (ulong)spec.LatencyTime.TotalNanoseconds, _jitter = (ulong)spec.JitterTime.TotalNanoseconds;
    readonly SortedDictionary<ulong, Learned> _table = [];
    Rng _random = random;
    ulong _sequence;

    /// <summary>The ways to the machines, in the order of the specification.</summary>
    public IReadOnlyList<PortQueue> Ports { get; } = [.. spec.Ports.Select(_ => new PortQueue(spec.QueueLength))];

    public LinkCounters Counters { get; set; }

    /// <summary>Takes a frame that a machine sent; frames come in the order of time.</summary>
    /// <param name="from">The machine's port.</param>
    /// <param name="time">Lab time at which it left the card, in nanoseconds.</param>
    /// <returns>What the network's own host answers, if it does.</returns>
    public Values<byte>? Send(int from, ulong time, Values<byte> frame)
    {
        if (frame.Count < HeaderLength) return null;
        (MacAddress to, MacAddress source) = (MacAddress.Read(frame.Span), MacAddress.Read(frame.Span[MacAddress.Length..]));
        Learn(source, from, time);
        Values<byte>? answer = to == host.Card || to.IsGroup ? host.Answer(spec.Ports[from], frame.Span) : null;
        if (answer is { } reply) Pass(null, from, time, reply);
        if (to == host.Card) return answer;
        if (Find(to, from, time) is { } known)
        {
            if (known != from) Pass(from, known, time, frame);
            return answer;
        }
        for (int port = 0; port < Ports.Count; port++)
            if (port != from) Pass(from, port, time, frame);
        return answer;
    }

    public void Reseed(Rng random) => _random = random;

    public State Save() => new([.. Ports.Select(port => port.Save())], [.. _table.Values], _random, _sequence);

    public void Restore(State state)
    {
        for (int i = 0; i < Ports.Count; i++) Ports[i].Restore(state.Ports[i]);
        _table.Clear();
        foreach (Learned learned in state.Table)
            if (learned.Port < 0 || learned.Port >= Ports.Count || !_table.TryAdd(learned.Address.Bits, learned))
                throw new LabException($"No switch of the network \"{spec.Name}\" has learned what the moment holds: take the moment anew.");
        (_random, _sequence) = (state.Random, state.Sequence);
    }

    void Learn(MacAddress address, int port, ulong time)
    {
        if (spec.Kind == LinkKind.Wire || address.IsGroup) return;
        if (_table.ContainsKey(address.Bits) || _table.Count < MostLearned) _table[address.Bits] = new Learned(address, port, time);
    }

    /// <summary>The port that leads to an address; <see langword="null"/> where it may be any.</summary>
    int? Find(MacAddress to, int from, ulong time)
    {
        if (spec.Kind == LinkKind.Wire) return 1 - from;
        if (to.IsGroup || !_table.TryGetValue(to.Bits, out Learned learned)) return null;
        if (time - learned.SeenAt <= Ageing) return learned.Port;
        _table.Remove(to.Bits);
        return null;
    }

    /// <param name="from"><see langword="null"/> is the network's own host.</param>
    void Pass(int? from, int to, ulong time, Values<byte> frame)
    {
        PortQueue port = Ports[to];
        var passage = new Passage(from is { } sender ? spec.Ports[sender].Machine : null, spec.Ports[to].Machine, frame, spec.BitRate);
        meddle(passage);
        if (passage.IsLost)
        {
            Counters = Counters with { Lost = Counters.Lost + 1 };
            return;
        }
        ulong service = passage.Rate.NanosecondsFor((ulong)Math.Max(passage.Frame.Count + CableOverhead, LeastOnCable));
        for (int copy = 0; copy < passage.Copies; copy++)
        {
            ulong late = passage.Delay + (_jitter == 0 ? 0 : _random.NextBelow(_jitter + 1));
            bool fits = port.TryPut(time, service, _latency + late, passage.Overtaken, passage.Frame, _sequence++);
            Counters = fits
                ? Counters with { Frames = Counters.Frames + 1, Bytes = Counters.Bytes + (ulong)frame.Count }
                : Counters with { Dropped = Counters.Dropped + 1 };
        }
    }
}
