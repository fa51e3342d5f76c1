namespace VmLab.Devices.Virtio;

/// <summary>Feature bits that belong to no kind of device. Source: VIRTIO 1.2, §6.</summary>
public static class VirtioFeatures
{
    public const ulong IndirectDescriptors = 1UL << 28, EventIndex = 1UL << 29, Version1 = 1UL << 32,
        PackedRing = 1UL << 34;

    /// <summary>What every device of this PC offers.</summary>
    public const ulong Offered = IndirectDescriptors | EventIndex | Version1 | PackedRing;
}
