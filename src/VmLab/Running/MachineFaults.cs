using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Faults;

namespace VmLab.Running;

/// <summary>A fault that was injected into a machine and is not over.</summary>
/// <param name="DueAt">Lab time of the next strike, in nanoseconds; the end of time where it waits for something else.</param>
/// <param name="LiftAt">Lab time at which it is taken back.</param>
/// <param name="Matches">How often the console showed what it waits for.</param>
/// <param name="Tail">The console's last characters, as many as are waited for.</param>
sealed record ArmedFault(MachineFault Fault, ulong DueAt, ulong LiftAt = ulong.MaxValue, int Strikes = 0, int Matches = 0, string Tail = "")
{
    public bool IsOver => DueAt == ulong.MaxValue && LiftAt == ulong.MaxValue && (Strikes > 0 || Fault.Trigger is not ConsoleShows);
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
        ulong dueAt = fault.Trigger switch
        {
            OnceInjected => now,
            AtTime at when (ulong)at.Time.TotalNanoseconds is var due && due >= now => due,
            AtTime at => throw new LabException(
                $"The fault is to strike {fault.Machine} at {at.Time.TotalSeconds} s, and it is {now / 1e9} s already."),
            ConsoleShows => ulong.MaxValue,
            var other => throw new LabException($"A fault of {fault.Machine} cannot wait for a {other.GetType().Name}."),
        };
        _armed.Add(new ArmedFault(fault, dueAt));
        Plan();
    }

    /// <summary>Takes a byte of a machine's console.</summary>
    /// <returns>Whether a fault strikes now.</returns>
    public bool Look(string machine, byte value, ulong now)
    {
        bool strikes = false;
        for (int i = 0; i < _armed.Count; i++)
        {
            ArmedFault armed = _armed[i];
            if (armed.Fault.Trigger is not ConsoleShows trigger || trigger.Machine != machine || armed.Matches == trigger.Count) continue;
            string tail = armed.Tail + (char)value;
            if (tail.Length > trigger.Text.Length) tail = tail[1..];
            bool isMatch = tail == trigger.Text;
            armed = armed with { Tail = isMatch ? "" : tail, Matches = armed.Matches + (isMatch ? 1 : 0) };
            if (armed.Matches == trigger.Count) (armed, strikes) = (armed with { DueAt = now }, true);
            _armed[i] = armed;
        }
        if (strikes) Plan();
        return strikes;
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
            ArmedFault armed = _armed[i] with { LiftAt = ulong.MaxValue };
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
