using VmLab.Core;
using VmLab.Faults;
using VmLab.Networks;
using VmLab.Running;

namespace VmLab;

/// <summary>A network of a running lab.</summary>
public sealed class Link
{
    readonly Lab _lab;
    readonly Segment _segment;
    readonly List<(SentFrame Sent, int Port)> _sent = [];
    readonly List<PcapWriter> _captures = [];

    internal Link(Lab lab, LinkSpec spec, FleetNames names)
    {
        _lab = lab;
        Spec = spec;
        Faults = new NetworkFaults(Random.Child("faults"));
        _segment = new Segment(spec, new NetworkHost(spec, names), Random.Child("jitter"), Faults.Apply);
        Outboxes = [.. spec.Ports.Select(_ => new List<SentFrame>())];
    }

    public LinkSpec Spec { get; }

    public string Name => Spec.Name;

    /// <summary>What it has carried since the lab's start.</summary>
    public LinkCounters Counters => _segment.Counters;

    /// <summary>Hash of all that it remembers: frames under way, what the switch has learned, random streams.</summary>
    public ulong StateHash => new StateHash().AddRecord(_segment.Save()).Value;

    internal NetworkFaults Faults { get; }

    internal IReadOnlyList<List<SentFrame>> Outboxes { get; }

    internal IReadOnlyList<PortQueue> Inboxes => _segment.Ports;

    Rng Random => Rng.FromSeed(_lab.Seed).Child("links").Child(Name);

    /// <summary>
    /// Writes every frame from now on to a pcap file that Wireshark opens, as it comes into the network: before queues drop it and
    /// faults meddle with it, and once, to however many it goes.
    /// </summary>
    /// <remarks>Times are guest time since the lab's start, in nanoseconds. After a restore, the frames that come again are
    /// written again.</remarks>
    /// <returns>What ends the capture when it is disposed of; the lab's end does too.</returns>
    /// <exception cref="LabException">The file cannot be written.</exception>
    public IDisposable Capture(string path)
    {
        _lab.RequireOpen();
        var writer = new PcapWriter(path);
        _captures.Add(writer);
        return new Capturing(this, writer);
    }

    public override string ToString() => $"{Name} ({Spec.Kind})";

    /// <summary>Puts on their way, in the order of (time, machine, sequence), the frames that a quantum brought.</summary>
    internal void Settle()
    {
        for (int port = 0; port < Outboxes.Count; port++)
        {
            if (!Spec.JoinsHosts) Inboxes[port].IsOn = _lab[Spec.Ports[port].Machine].HasPower;
            foreach (SentFrame sent in Outboxes[port]) _sent.Add((sent, port));
            Outboxes[port].Clear();
        }
        if (_sent.Count == 0) return;
        foreach (var (sent, port) in _sent.OrderBy(entry => (entry.Sent.Time, entry.Port))) Send(port, sent);
        _sent.Clear();
        foreach (PcapWriter capture in _captures) capture.Flush();
    }

    /// <summary>Arms a fault, which may strike at once.</summary>
    internal void Arm(LinkFault fault)
    {
        Faults.Arm(fault, _lab.Nanoseconds);
        StrikeDue();
    }

    /// <summary>Faults strike that are due by now; the machines' cards learn of it, and the timeline.</summary>
    internal void StrikeDue()
    {
        Faults.StrikeDue(_lab.Nanoseconds);
        for (int port = 0; port < Inboxes.Count; port++)
        {
            if (Inboxes[port].IsUp == !Faults.IsDown) continue;
            Inboxes[port].IsUp = !Faults.IsDown;
            if (!Spec.JoinsHosts) _lab[Spec.Ports[port].Machine].Powered.Machine.SetLink(Spec.Ports[port].Card, !Faults.IsDown);
        }
        foreach (var (time, what) in Faults.Done) _lab.Add(null, time, $"{Name}: fault: {what}");
        Faults.Done.Clear();
    }

    /// <summary>From a moment of another seed on, what is drawn follows from the lab's own.</summary>
    internal void Reseed()
    {
        _segment.Reseed(Random.Child("jitter"));
        Faults.Reseed(Random.Child("faults"));
    }

    internal LinkMoment Snapshot() => new(_segment.Save(), _segment.Counters, Faults.Snapshot());

    internal void Restore(LinkMoment moment)
    {
        foreach (List<SentFrame> outbox in Outboxes) outbox.Clear();   // of a quantum that a hook broke off
        _segment.Restore(moment.Segment);
        _segment.Counters = moment.Counters;
        Faults.Restore(moment.Faults);
        foreach (PortQueue inbox in Inboxes) inbox.IsUp = !Faults.IsDown;   // as the machines' cards have it
    }

    internal void Close()
    {
        foreach (PcapWriter capture in _captures) capture.Dispose();
        _captures.Clear();
    }

    /// <summary>Puts a frame on its way.</summary>
    internal void Send(int port, SentFrame sent)
    {
        Faults.StrikeDue(sent.Time);
        if (sent.Frame.Count >= Frames.HeaderLength)
        {
            var met = new FrameSent(Name, Spec.Ports[port].Machine, ReceiverOf(sent.Frame), sent.Frame);
            Faults.Look(met, sent.Time);
            Faults.StrikeDue(sent.Time);
            _lab.Meet(met, this);
        }
        Record(sent.Time, sent.Frame);
        if (_segment.Send(port, sent.Time, sent.Frame) is { } answer) Record(sent.Time, answer);
    }

    void Record(ulong time, Values<byte> frame)
    {
        foreach (PcapWriter capture in _captures) capture.Add(time, frame.Span);
    }

    string? ReceiverOf(Values<byte> frame)
    {
        MacAddress to = MacAddress.Read(frame.Span);
        foreach (LinkPort port in Spec.Ports)
            if (port.Card == to) return port.Machine;
        return null;
    }

    sealed class Capturing(Link link, PcapWriter writer) : IDisposable
    {
        public void Dispose()
        {
            if (link._captures.Remove(writer)) writer.Dispose();
        }
    }
}
