using System.Collections.Immutable;

namespace VmLab.Running;

/// <summary>All that a lab is at one moment. What is put in here is in files too: plain data, to the last field.</summary>
/// <param name="Seed">Of the run that it is of.</param>
/// <param name="Nanoseconds">Guest time since the lab's start.</param>
/// <param name="Machines">In the order of the fleet.</param>
/// <param name="Links">In the order of the fleet.</param>
sealed record LabMoment(ulong Seed, ulong Nanoseconds, ImmutableArray<VmMoment> Machines, ImmutableArray<LinkMoment> Links);
