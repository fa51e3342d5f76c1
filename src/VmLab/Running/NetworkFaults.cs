using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Faults;
using VmLab.Networks;

namespace VmLab.Running;

/// <summary>A fault that was injected into a network and is not over.</summary>
/// <param name="DueAt">Lab time of the next strike, in nanoseconds; the end of time where it waits for something else.</param>
/// <param name="LiftAt">Lab time of its end.</param>
/// <param name="Matches">How often it met what it waits for.</param>
/// <param name="Tail">What its trigger remembers from one happening to the next.</param>
/// <param name="Met">How many frames it has met since it struck.</param>
sealed record ArmedLinkFault(
    LinkFault Fault, ulong DueAt, ulong LiftAt = ulong.MaxValue, int Strikes = 0, int Matches = 0, string Tail = "",
    bool IsOn = false, ulong Met = 0)
{
    public bool IsOver => DueAt == ulong.MaxValue && !IsOn && (Strikes > 0 || Fault.Trigger is not CountedTrigger);
}

/// <summary>The faults of one network: what is armed, and what is in effect.</summary>
/// <remarks>Used by the lab between quanta.</remarks>
sealed class NetworkFaults(Rng random)
{
    /// <summary>What a moment keeps: faults belong to it.</summary>
    public sealed record Moment(ImmutableArray<ArmedLinkFault> Armed, Rng Random);

    readonly List<ArmedLinkFault> _armed = [];
    Rng _random = random;

    /// <summary>Lab time of the next strike or end.</summary>
    public ulong NextAt { get; private set; } = ulong.MaxValue;

    /// <summary>The cables are unplugged.</summary>
    public bool IsDown => _armed.Exists(armed => armed is { IsOn: true, Fault: LinkDown });

    /// <summary>What was injected and has not struck.</summary>
    public IEnumerable<LinkFault> Unfired => _armed.Where(armed => armed.Strikes == 0).Select(armed => armed.Fault);

    /// <summary>What was done since the last quantum's end: lab time, and what.</summary>
    public List<(ulong Time, string What)> Done { get; } = [];

    /// <exception cref="LabException">Its time is over, or it waits for what a network's fault cannot wait for.</exception>
    public void Arm(LinkFault fault, ulong now)
    {
        if (fault.Trigger is PlaceTrigger place)
            throw new LabException(
                $"A fault of the network {fault.Network} cannot wait for a {place.GetType().Name}: let it wait for a time, a console's "
                + "text, a disk's request or a frame.");
        _armed.Add(new ArmedLinkFault(fault, fault.Trigger.DueAt(now, fault.Network)));
        StrikeDue(now);
    }

    /// <summary>Takes what happened, at this lab time; what waited for it is due.</summary>
    public void Look(Happening what, ulong now)
    {
        for (int i = 0; i < _armed.Count; i++)
        {
            ArmedLinkFault armed = _armed[i];
            if (armed.Fault.Trigger is not CountedTrigger trigger || trigger.Machine != what.Machine || armed.Matches == trigger.Count) continue;
            string tail = armed.Tail;
            if (trigger.IsMet(what, ref tail)) armed = armed with { Matches = armed.Matches + 1 };
            if (armed.Matches == trigger.Count) armed = armed with { DueAt = now };
            _armed[i] = armed with { Tail = tail };
        }
        Plan();
    }

    /// <summary>Strikes, and ends, what is due, each at its own time.</summary>
    public void StrikeDue(ulong now)
    {
        Plan();
        while (NextAt <= now)
        {
            ulong at = NextAt;
            for (int i = 0; i < _armed.Count; i++)
            {
                if (_armed[i].LiftAt == at) _armed[i] = Lift(_armed[i]);
                if (_armed[i].DueAt == at) _armed[i] = Strike(_armed[i]);
            }
            _armed.RemoveAll(armed => armed.IsOver);
            Plan();
        }
    }

    /// <summary>Meddles with a frame on its way to one receiver.</summary>
    public void Apply(Passage passage)
    {
        for (int i = 0; i < _armed.Count && !passage.IsLost; i++)
            if (_armed[i].IsOn && _armed[i].Fault.Apply(passage, ref _random)) _armed[i] = _armed[i] with { Met = _armed[i].Met + 1 };
    }

    public void Reseed(Rng random) => _random = random;

    public Moment Snapshot() => new([.. _armed], _random);

    public void Restore(Moment moment)
    {
        _armed.Clear();
        _armed.AddRange(moment.Armed);
        _random = moment.Random;
        Done.Clear();
        Plan();
    }

    ArmedLinkFault Strike(ArmedLinkFault armed)
    {
        (LinkFault fault, ulong now) = (armed.Fault, armed.DueAt);
        ulong again = fault.Period is { } period ? now + (ulong)period.TotalNanoseconds : ulong.MaxValue;
        armed = armed with { DueAt = again, Strikes = armed.Strikes + 1 };
        if (fault.Probability < 1 && _random.NextDouble() >= fault.Probability) return armed;
        Done.Add((now, fault.Effect));
        ulong liftAt = fault.Duration is { } duration ? now + (ulong)duration.TotalNanoseconds : ulong.MaxValue;
        return armed with { IsOn = true, LiftAt = liftAt, Met = armed.IsOn ? armed.Met : 0 };
    }

    ArmedLinkFault Lift(ArmedLinkFault armed)
    {
        string frames = armed.Met == 1 ? "1 frame" : $"{armed.Met} frames";
        Done.Add((armed.LiftAt, $"over: {armed.Fault.Effect}; it met {frames}"));
        return armed with { IsOn = false, LiftAt = ulong.MaxValue };
    }

    void Plan() => NextAt = _armed.Aggregate(ulong.MaxValue, (next, armed) => Math.Min(next, Math.Min(armed.DueAt, armed.LiftAt)));
}
