using VmLab.Networks;

namespace VmLab.Running;

/// <summary>A network of a lab at one moment.</summary>
sealed record LinkMoment(Segment.State Segment, LinkCounters Counters, NetworkFaults.Moment Faults);
