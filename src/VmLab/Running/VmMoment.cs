using VmLab.Machines;

namespace VmLab.Running;

/// <summary>A machine of a lab at one moment, with all that the lab knows of it.</summary>
/// <param name="PowerOns">How often it was powered on.</param>
/// <param name="PausedAt">Lab time of the pause that it is in, in nanoseconds.</param>
sealed record VmMoment(
    PoweredMachine.Moment Powered, MachineFaults.Moment Faults, int PowerOns, MachineStatus LastStatus, ulong? PausedAt, bool HasPanicked,
    VmConsole.State Console, CommandChannel.State? Channel);
