using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Faults;

namespace VmLab.Running;

/// <summary>A fault that was injected into a machine and is not over.</summary>
/// <param name="DueAt">Lab time of the next strike, in nanoseconds; the end of time where it waits for something else.</param>
/// <param name="LiftAt">Lab time at which it is taken back.</param>
/// <param name="Matches">How often it met what it waits for.</param>
/// <param name="Tail">What its trigger remembers from one happening to the next.</param>
/// <param name="Address">Where the place that it waits for lies since the machine's power-on, once that is known.</param>
sealed record ArmedFault(
    MachineFault Fault, ulong DueAt, ulong LiftAt = ulong.MaxValue, int Strikes = 0, int Matches = 0, string Tail = "", ulong? Address = null)
{
    public bool IsOver => DueAt == ulong.MaxValue && LiftAt == ulong.MaxValue && (Strikes > 0 || Fault.Trigger is not CountedTrigger);

    /// <summary>What it still waits for.</summary>
    public CountedTrigger? Awaited => Fault.Trigger is CountedTrigger trigger && Matches < trigger.Count ? trigger : null;
}

/// <summary>The faults of one machine, over all its power-ons: what is armed, and when it strikes.</summary>
/// <remarks>Used on the machine's thread while it runs, and by the lab between quanta.</remarks>
sealed class MachineFaults(Rng random)
{
    /// <summary>What a moment keeps: faults belong to it.</summary>
    public sealed record Moment(ImmutableArray<ArmedFault> Armed, Rng Random);

    readonly List<ArmedFault> _armed = [];
    Rng _random = random;

    /// <summary>Lab time of the next strike or lift.</summary>
    public ulong NextAt { get; private set; } = ulong.MaxValue;

    /// <summary>What was injected and has not struck.</summary>
    public IEnumerable<MachineFault> Unfired => _armed.Where(armed => armed.Strikes == 0).Select(armed => armed.Fault);

    /// <summary>What was done since the last quantum's end: lab time, and what.</summary>
    public List<(ulong Time, string What)> Done { get; } = [];

    /// <exception cref="LabException">Its time is over.</exception>
    public void Arm(MachineFault fault, ulong now)
    {
        _armed.Add(new ArmedFault(fault, fault.Trigger.DueAt(now, fault.Machine)));
        Plan();
    }

    /// <summary>Takes what happened on a machine, of this lab time.</summary>
    /// <returns>Whether a fault strikes now.</returns>
    public bool Look(Happening what, ulong now)
    {
        bool strikes = false;
        for (int i = 0; i < _armed.Count; i++)
        {
            ArmedFault armed = _armed[i];
            if (armed.Awaited is not { } trigger || trigger.Machine != what.Machine) continue;
            string tail = armed.Tail;
            bool isMet = trigger.IsMet(what, ref tail);
            armed = armed with { Tail = tail, Matches = armed.Matches + (isMet ? 1 : 0) };
            if (isMet && armed.Awaited is null) (armed, strikes) = (armed with { DueAt = now }, true);
            _armed[i] = armed;
        }
        if (strikes) Plan();
        return strikes;
    }

    /// <summary>The places that faults wait for, as far as it is known where they lie.</summary>
    public IEnumerable<(PlaceTrigger Place, ulong Address)> Places =>
        from armed in _armed
        where armed is { Awaited: PlaceTrigger, Address: not null }
        select ((PlaceTrigger)(armed.Awaited! with { Count = 1 }), armed.Address!.Value);

    /// <summary>Looks up the places of a machine that are not known yet.</summary>
    /// <param name="find">The linear address of a symbol, or <see langword="null"/>.</param>
    public void FindPlaces(string machine, Func<string, ulong?> find)
    {
        for (int i = 0; i < _armed.Count; i++)
            if (_armed[i] is { Awaited: PlaceTrigger place, Address: null } && place.Machine == machine)
                _armed[i] = _armed[i] with { Address = place.Address ?? find(place.Name!) };
    }

    /// <summary>A machine starts anew: its kernel will lie elsewhere.</summary>
    public void ForgetPlaces(string machine)
    {
        for (int i = 0; i < _armed.Count; i++)
            if (_armed[i] is { Awaited: PlaceTrigger place } && place.Machine == machine) _armed[i] = _armed[i] with { Address = null };
    }

    /// <summary>Strikes and lifts what is due.</summary>
    public void StrikeDue(Struck target, ulong now)
    {
        for (int i = 0; i < _armed.Count; i++)
        {
            ArmedFault armed = _armed[i];
            if (armed.LiftAt <= now)
            {
                if (armed.Fault.Lift(target) is { } lifted) Done.Add((now, lifted));
                armed = armed with { LiftAt = ulong.MaxValue };
            }
            if (armed.DueAt <= now) armed = Strike(armed, target, now);
            _armed[i] = armed;
        }
        _armed.RemoveAll(armed => armed.IsOver);
        Plan();
    }

    /// <summary>The machine was off: what was due in the meantime met nobody, and what lasted is over.</summary>
    public void PowerOn(ulong now)
    {
        for (int i = 0; i < _armed.Count; i++)
        {
            ArmedFault armed = _armed[i];
            if (!armed.Fault.OutlivesPower) armed = armed with { LiftAt = ulong.MaxValue };
            if (armed.DueAt < now) armed = armed with { DueAt = Later(armed.Fault, armed.DueAt, now) };
            _armed[i] = armed;
        }
        _armed.RemoveAll(armed => armed.IsOver);
        Plan();
    }

    public Moment Snapshot() => new([.. _armed], _random);

    public void Restore(Moment moment)
    {
        _armed.Clear();
        _armed.AddRange(moment.Armed);
        _random = moment.Random;
        Done.Clear();
        Plan();
    }

    public void Reseed(Rng random) => _random = random;

    ArmedFault Strike(ArmedFault armed, Struck target, ulong now)
    {
        MachineFault fault = armed.Fault;
        armed = armed with { DueAt = Later(fault, now, now) };
        if (fault.Probability < 1 && _random.NextDouble() >= fault.Probability) return armed with { Strikes = armed.Strikes + 1 };
        Done.Add((now, fault.Strike(target, ref _random)));
        ulong liftAt = fault.Duration is { } duration ? now + (ulong)duration.TotalNanoseconds : ulong.MaxValue;
        return armed with { Strikes = armed.Strikes + 1, LiftAt = liftAt };
    }

    /// <summary>The first time after now of a fault that strikes again and again.</summary>
    static ulong Later(MachineFault fault, ulong due, ulong now)
    {
        if (fault.Period is not { } period) return ulong.MaxValue;
        var nanoseconds = (ulong)period.TotalNanoseconds;
        return due + ((now - due) / nanoseconds + 1) * nanoseconds;
    }

    void Plan() => NextAt = _armed.Aggregate(ulong.MaxValue, (next, armed) => Math.Min(next, Math.Min(armed.DueAt, armed.LiftAt)));
}
