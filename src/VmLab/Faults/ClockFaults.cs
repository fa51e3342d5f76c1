using System.Globalization;
using VmLab.Core;

namespace VmLab.Faults;

/// <summary>What can go wrong with the clock that all timers of a machine run on.</summary>
public readonly record struct ClockFaults(string Machine)
{
    internal const int LeastDrift = -500_000, MostDrift = 1_000_000;

    internal static TimeSpan LongestJump { get; } = TimeSpan.FromDays(3650);

    /// <summary>Jumps ahead: to the guest, so much time has gone by at once.</summary>
    public Fault Jump(TimeSpan ahead) => new ClockJump(Machine, Require.InRange(ahead, 1.Microseconds, LongestJump));

    /// <summary>Runs fast, or slow.</summary>
    /// <param name="partsPerMillion">-500,000 to 1,000,000; 0 is right.</param>
    public Fault Drift(int partsPerMillion) => new ClockDrift(Machine, Require.InRange(partsPerMillion, LeastDrift, MostDrift));

    /// <summary>
    /// Interrupts of the processor's own timer get lost; a timer that was armed for one alone stays silent until the guest
    /// arms it again.
    /// </summary>
    /// <param name="count">How many.</param>
    public Fault LostTicks(int count) => new ClockLostTicks(Machine, Require.InRange(count, 1, int.MaxValue));
}

/// <inheritdoc cref="ClockFaults.LostTicks"/>
public sealed record ClockLostTicks(string Machine, int Count) : MachineFault(Machine)
{
    internal override bool IsSound => base.IsSound && Count > 0;

    internal override string Strike(Struck target, ref Rng random)
    {
        target.Machine.LoseTicks((ulong)Count);
        return $"{Count} timer interrupts get lost";
    }
}

/// <inheritdoc cref="ClockFaults.Jump"/>
public sealed record ClockJump(string Machine, TimeSpan Ahead) : MachineFault(Machine)
{
    internal override bool IsSound => base.IsSound && Ahead >= 1.Microseconds && Ahead <= ClockFaults.LongestJump;

    internal override string Strike(Struck target, ref Rng random)
    {
        var nanoseconds = (ulong)Ahead.TotalNanoseconds;
        target.Machine.JumpAhead(nanoseconds);
        target.Clock = target.Clock.JumpedAhead(nanoseconds);
        return string.Create(CultureInfo.InvariantCulture, $"clock jumps {Ahead.TotalSeconds:0.######} s ahead");
    }
}

/// <inheritdoc cref="ClockFaults.Drift"/>
public sealed record ClockDrift(string Machine, int PartsPerMillion) : MachineFault(Machine)
{
    internal override bool IsSound => base.IsSound && PartsPerMillion is >= ClockFaults.LeastDrift and <= ClockFaults.MostDrift;

    internal override string Strike(Struck target, ref Rng random)
    {
        target.Clock = target.Clock.WithDrift(target.Machine.Now, PartsPerMillion);
        return $"clock drifts by {PartsPerMillion} ppm";
    }

    internal override string Lift(Struck target)
    {
        target.Clock = target.Clock.WithDrift(target.Machine.Now, 0);
        return "clock runs right";
    }
}
