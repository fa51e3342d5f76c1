using VmLab.Core;
using VmLab.Networks;
using VmLab.Running;

namespace VmLab;

/// <summary>A network of a running lab.</summary>
public sealed class Link
{
    readonly Lab _lab;
    readonly Segment _segment;
    readonly List<(SentFrame Sent, int Port)> _sent = [];

    internal Link(Lab lab, LinkSpec spec, FleetNames names)
    {
        _lab = lab;
        Spec = spec;
        _segment = new Segment(spec, new NetworkHost(spec, names), Random.Child("jitter"), _ => { });
        Outboxes = [.. spec.Ports.Select(_ => new List<SentFrame>())];
    }

    public LinkSpec Spec { get; }

    public string Name => Spec.Name;

    /// <summary>What it has carried since the lab's start.</summary>
    public LinkCounters Counters => _segment.Counters;

    /// <summary>Hash of all that it remembers: frames under way, what the switch has learned, random streams.</summary>
    public ulong StateHash => new StateHash().AddRecord(_segment.Save()).Value;

    internal IReadOnlyList<List<SentFrame>> Outboxes { get; }

    internal IReadOnlyList<PortQueue> Inboxes => _segment.Ports;

    Rng Random => Rng.FromSeed(_lab.Seed).Child("links").Child(Name);

    public override string ToString() => $"{Name} ({Spec.Kind})";

    /// <summary>Puts on their way, in the order of (time, machine, sequence), the frames that a quantum brought.</summary>
    internal void Settle()
    {
        for (int port = 0; port < Outboxes.Count; port++)
        {
            Vm machine = _lab[Spec.Ports[port].Machine];
            Inboxes[port].IsOn = machine.IsPaused || machine.IsRunning;
            foreach (SentFrame sent in Outboxes[port]) _sent.Add((sent, port));
            Outboxes[port].Clear();
        }
        foreach (var (sent, port) in _sent.OrderBy(entry => (entry.Sent.Time, entry.Port))) _segment.Send(port, sent.Time, sent.Frame);
        _sent.Clear();
    }

    /// <summary>From a moment of another seed on, what is drawn follows from the lab's own.</summary>
    internal void Reseed() => _segment.Reseed(Random.Child("jitter"));

    internal LinkMoment Snapshot() => new(_segment.Save(), _segment.Counters);

    internal void Restore(LinkMoment moment)
    {
        foreach (List<SentFrame> outbox in Outboxes) outbox.Clear();   // of a quantum that a hook broke off
        _segment.Restore(moment.Segment);
        _segment.Counters = moment.Counters;
    }
}
