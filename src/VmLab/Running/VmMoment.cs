using VmLab.Machines;

namespace VmLab.Running;

/// <summary>A machine of a lab at one moment, with all that the lab knows of it.</summary>
/// <param name="PowerOns">How often it was powered on.</param>
/// <param name="PausedAt">Lab time of the pause that it is in, in nanoseconds.</param>
/// <param name="CrashHook">Where the kernel is watched for panics: a linear address, or 0.</param>
/// <param name="Host">The host that it runs on, or <see langword="null"/>.</param>
sealed record VmMoment(
    PoweredMachine.Moment Powered, MachineFaults.Moment Faults, int PowerOns, MachineStatus LastStatus, ulong? PausedAt, bool HasPanicked,
    ulong CrashHook, string? Host, VmConsole.State Console, CommandChannel.State? Channel);
