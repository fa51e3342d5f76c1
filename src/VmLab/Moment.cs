using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Guests;
using VmLab.Running;

namespace VmLab;

/// <summary>
/// A whole lab at one moment: processors, memory, devices, clocks, random streams, what is under way between lab and
/// guests. Immutable, and good for any number of restores and forks.
/// </summary>
/// <remarks>
/// It costs memory only for what machines go on to change, and none any more once it is disposed of, or forgotten.
/// </remarks>
public sealed class Moment : IDisposable
{
    internal Moment(string name, Lab lab, FramePool pool, ImmutableArray<IBootable> guests, ImmutableArray<VmMoment> machines)
    {
        (Name, Fleet, Seed, Nanoseconds) = (name, lab.Fleet, lab.Seed, lab.Nanoseconds);
        (Pool, Guests, Machines) = (pool, guests, machines);
    }

    public string Name { get; }

    public Fleet Fleet { get; }

    /// <summary>The seed of the run that it is of.</summary>
    public ulong Seed { get; }

    /// <summary>Guest time since the lab's start.</summary>
    public TimeSpan Time => Lab.Time(Nanoseconds);

    internal ulong Nanoseconds { get; }

    /// <summary>Where the machines' frames are, for all labs that grow from here.</summary>
    internal FramePool Pool { get; }

    /// <summary>What each machine boots at its next power-on.</summary>
    internal ImmutableArray<IBootable> Guests { get; }

    internal ImmutableArray<VmMoment> Machines { get; }

    internal ImmutableArray<LinkMoment> Links { get; init; } = [];

    public override string ToString() => $"moment \"{Name}\" of lab \"{Fleet.Name}\", seed {Seed}, at {Time.TotalSeconds:0.000000} s";

    public void Dispose()
    {
        foreach (VmMoment machine in Machines) machine.Powered.Machine.Dispose();
    }
}

/// <summary>A lab was restored to a moment while this was awaited.</summary>
public sealed class MomentRestoredException(string message) : LabException(message);
