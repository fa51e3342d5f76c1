namespace VmLab.Core;

/// <summary>
/// A machine's clock: counts of its processor and idle jumps, in nanoseconds; nothing of the host is in it.
/// </summary>
/// <remarks>The engine publishes its exact count here before any device is called.</remarks>
public sealed class VirtualClock : IClock
{
    public ulong Now { get; set; }
}
