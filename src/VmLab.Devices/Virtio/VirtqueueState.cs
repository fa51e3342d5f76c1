namespace VmLab.Devices.Virtio;

/// <summary>What a device remembers of one of its virtqueues.</summary>
/// <param name="Size">In descriptors.</param>
/// <param name="Vector">The MSI-X vector of its interrupts; 0xFFFF for none.</param>
/// <param name="Descriptors">Guest-physical address of the descriptor area.</param>
/// <param name="Driver">Of the driver area: the available ring, or the driver's event suppression.</param>
/// <param name="Device">Of the device area: the used ring, or the device's event suppression.</param>
/// <param name="Position">
/// Of the next chain to take: in a split ring a count of all chains so far, in a packed one a descriptor's number.
/// Chains are completed in the order in which they were taken, so it is also where the next one is given back.
/// </param>
/// <param name="Lap">The wrap counter of a packed ring.</param>
/// <param name="ServeAt">
/// Machine time, in nanoseconds, at which the next chain is done; <see cref="Never"/> while there is none.
/// </param>
public readonly record struct VirtqueueState(
    ushort Size, bool IsEnabled, ushort Vector, ulong Descriptors, ulong Driver, ulong Device,
    ushort Position, bool Lap, ulong ServeAt)
{
    public const ushort MostDescriptors = 256, NoVector = 0xFFFF;
    public const ulong Never = ulong.MaxValue;

    /// <summary>A queue after a reset of its device.</summary>
    public static VirtqueueState Unused { get; } =
        new(MostDescriptors, false, NoVector, 0, 0, 0, Position: 0, Lap: true, Never);
}
