using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Machines;
using VmLab.Machines.Migrating;
using VmLab.Running;

namespace VmLab.Migrating;

/// <summary>A migration under way between two hosts of a lab: both ends, and the wire between them.</summary>
/// <remarks>
/// The lab is the control plane that knows both hosts, whatever becomes of the wire: it settles who has the machine when the wire fails
/// while that is in doubt. Simplified: a machine that touches a page which has not come goes on to the end of the quantum, and stands
/// still from there on until the page has.
/// </remarks>
sealed class MigrationRun : IDeparting, IArriving, IElsewhere, IDisposable
{
    const ulong ThrottleWindow = 10_000_000;

    readonly Lab _lab;
    readonly Link _wire;
    readonly int _fromPort, _powerOns;
    readonly HostEnd _from, _to;
    readonly MigrationSource _source;
    readonly MigrationTarget _target;
    readonly HashSet<uint> _wanted = [];
    readonly string _origin;
    MachineMoment? _arrived;
    IMachine? _machine;
    GuestMemory? _ram;   // of the machine that came
    int _throttle;

    public MigrationRun(Lab lab, Vm vm, Link wire, HostRef to, Migration plan)
    {
        (_lab, Vm, _wire, To) = (lab, vm, wire, to);
        _origin = vm.HostName!;
        _powerOns = vm.PowerOns;
        _fromPort = wire.Spec.Ports[0].Machine == _origin ? 0 : 1;
        Rng random = Rng.FromSeed(lab.Seed).Child("migrations").Child(vm.Name).Child($"{lab.Nanoseconds}");
        Session = (uint)random.Child("session").Next();
        byte[] shared = new byte[MigrationSeal.KeySize];
        Rng key = random.Child("key");
        for (int i = 0; i < shared.Length; i++) shared[i] = (byte)key.Next();
        (byte[] there, byte[] back) = (MigrationSeal.DeriveKey(shared, [], "there"), MigrationSeal.DeriveKey(shared, [], "back"));
        (MacAddress own, MacAddress other) = (wire.Spec.Ports[_fromPort].Card, wire.Spec.Ports[1 - _fromPort].Card);
        _from = new HostEnd(new HostStream(Session, own, other, random.Child("there")), there, back);
        _to = new HostEnd(new HostStream(Session, other, own, random.Child("back")), back, there);
        _source = new MigrationSource(this, plan);
        _target = new MigrationTarget(this);
    }

    public Vm Vm { get; }

    public HostRef To { get; }

    /// <summary>Of its streams.</summary>
    public uint Session { get; }

    public bool IsOver => _source.IsOver;

    /// <summary>What it needs of the destination's memory.</summary>
    public ByteSize Memory => Vm.Spec.MemorySize;

    public ulong Now => _lab.Nanoseconds;

    public bool SharesClock => true;

    public FramePool Pool => _lab.Pool;

    public MigrationOffer Offer => MigrationOffer.Of(Vm.Config, Vm.Powered.Machine.Pc.Memory.Ram.Size, []);

    public ImmutableArray<byte> Luggage => [];

    /// <summary>Lab time at which there is something to do, if no frame comes.</summary>
    public ulong NextAt
    {
        get
        {
            ulong next = Math.Min(_source.NextAt, Math.Min(_from.Stream.NextAt, _to.Stream.NextAt));
            return _throttle == 0 ? next : Math.Min(next, NextThrottle);
        }
    }

    bool HasArrived => _target.TakenAt is not null;

    bool IElsewhere.IsLookedAt => !Vm.Powered.IsInRun;

    ulong NextThrottle => Now - Now % ThrottleWindow is var start && Now < start + Throttled ? start + Throttled : start + ThrottleWindow;

    ulong Throttled => ThrottleWindow / 100 * (ulong)_throttle;

    /// <summary>Takes a frame that came to one of the hosts.</summary>
    public void Receive(int port, ReadOnlySpan<byte> frame)
    {
        if (port == _fromPort)
        {
            if (_from.Stream.Receive(frame, Now, _from.Incoming)) _source.Hear();
        }
        else _to.Stream.Receive(frame, Now, _to.Incoming);
    }

    /// <summary>Does what there is to do between two quanta.</summary>
    public void Work()
    {
        if (!IsOver && !HasArrived && (Vm.PowerOns != _powerOns || !Vm.HasPower)) Break($"{Vm.Name} was switched off or reset");
        if (!IsOver && !HasArrived && Vm.IsHeld) return;   // a hook stands in the middle of a quantum
        try
        {
            while (_from.TryOpen(out MigrationMessage message)) _source.Receive(message);
            while (_to.TryOpen(out MigrationMessage message)) _target.Receive(message);
            _source.Tick();
        }
        catch (LabException failure)
        {
            Break(failure.Message);
        }
        if (_source is { IsInDoubt: true, IsBroken: true }) _source.Settle(_target.TakenAt, _target.IsWhole);
        while (_from.Stream.HasRoom && _source.TryNext(out MigrationMessage message)) _from.Write(message);
        while (_to.Stream.HasRoom && _target.TryNext(out MigrationMessage message)) _to.Write(message);
        _from.Stream.Work(Now, frame => Send(_fromPort, frame));
        _to.Stream.Work(Now, frame => Send(1 - _fromPort, frame));
        if (IsOver) End();
        else if (!HasArrived) Vm.Powered.Machine.Pc.IsThrottled = _throttle > 0 && Now % ThrottleWindow < Throttled;
    }

    /// <summary>Nobody waits for it any more: it ends, unless the machine runs at the destination already, and its pages must follow.</summary>
    public void Cancel()
    {
        if (!HasArrived) Break("it was cancelled");
    }

    /// <summary>It will not come to its end.</summary>
    public void Break(string reason)
    {
        _source.Break(reason);
        if (_source is { IsInDoubt: true, IsBroken: true }) _source.Settle(_target.TakenAt, _target.IsWhole);
        if (IsOver) End();
    }

    public MigrationReport Report() => _source.Report(_origin, To.Name);

    public MachineMoment Snapshot() => Vm.Powered.Machine.Snapshot();

    public void Freeze() => Vm.Freeze();

    public void Thaw() => Vm.Thaw();

    public void Throttle(int percent)
    {
        _throttle = percent;
        if (percent == 0 && !HasArrived) Vm.Powered.Machine.Pc.IsThrottled = false;
    }

    public string? WhyRefused(MigrationOffer offer) => _lab.WhyNoRoom(To, this);

    public void Prepare(MigrationOffer offer, MachineMoment moment, IReadOnlyList<uint> missing, ImmutableArray<byte> luggage)
    {
        _arrived = moment;
        _machine = Vm.Build(moment);
        _ram = _machine.Pc.Memory.Ram;
        if (missing.Count > 0) _ram.Miss(missing, this);
    }

    public void Discard()
    {
        _machine?.Dispose();
        _arrived?.Dispose();
        (_machine, _arrived) = (null, null);
    }

    public void Run()
    {
        Vm.MoveTo(To.Name, _machine!);
        _machine = null;
        Discard();
        Vm.Thaw();
        _lab.Moved(Vm);
    }

    public void Fetch(uint page)
    {
        _ram!.Fill(page, _source.Memory.PageAt(page));
        if (!Vm.Powered.IsInRun || !_wanted.Add(page)) return;
        _target.Want(page);
        Vm.Powered.Stall();
    }

    public uint FrameOf(uint page) => _source.Memory.FrameOf(page);

    public void Fill(uint page, ReadOnlySpan<byte> bytes)
    {
        if (_ram!.IsAbsent(page)) _ram.Fill(page, bytes);
        if (_wanted.Remove(page) && _wanted.Count == 0) Vm.Thaw();
    }

    public void Lose()
    {
        _ram!.Miss([], this);
        Vm.Lose();
    }

    public void Complete()
    {
    }

    public void Dispose()
    {
        if (!IsOver) Vm.Powered.Machine.Pc.IsThrottled = false;
        _from.Dispose();
        _to.Dispose();
        _source.Dispose();
        _target.Dispose();
        Discard();
    }

    void End()
    {
        if (_source.Outcome != MigrationOutcome.Completed) _target.Break();
    }

    void Send(int port, byte[] frame) => _wire.Send(port, new SentFrame(Now, new Values<byte>(frame)));

    /// <summary>One host's end: its stream, and the seals of both directions.</summary>
    sealed class HostEnd(HostStream stream, byte[] outgoing, byte[] incoming) : IDisposable
    {
        readonly MigrationSeal _outgoing = new(outgoing), _incoming = new(incoming);

        public HostStream Stream => stream;

        public void Incoming(byte[] bytes) => _incoming.Receive(bytes);

        public bool TryOpen(out MigrationMessage message) => _incoming.TryOpen(out message);

        public void Write(MigrationMessage message) => stream.Write(_outgoing.Seal(message.Kind, message.Body.Span));

        public void Dispose()
        {
            _outgoing.Dispose();
            _incoming.Dispose();
        }
    }
}
