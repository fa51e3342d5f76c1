using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>What a virtio device is wired to, besides its PCI slot.</summary>
/// <param name="SendMessage">Takes the address and data of each message-signalled interrupt.</param>
public sealed record VirtioBoard(GuestMemory Memory, IClock Clock, Action<ulong, uint> SendMessage);

/// <summary>Which virtio device a function is. Source: VIRTIO 1.2, §5 (device types).</summary>
/// <param name="Type">The device type: 1 for a network card, 2 for a block device.</param>
/// <param name="PciClass">Class, subclass and programming interface: 24 bits.</param>
/// <param name="Features">Of this kind of device: bits 0 to 23 and from 50 on.</param>
/// <param name="ConfigSize">Bytes of the device's own configuration, at most 4096.</param>
public sealed record VirtioIdentity(ushort Type, uint PciClass, int QueueCount, ulong Features, int ConfigSize);

/// <summary>How long a device takes for something: a fixed part and a part by size.</summary>
/// <param name="LatencyNanoseconds">At least 1.</param>
/// <param name="BytesPerSecond">At least 1.</param>
public readonly record struct ServiceRate(ulong LatencyNanoseconds, ulong BytesPerSecond)
{
    const ulong NanosecondsPerSecond = 1_000_000_000;

    /// <summary>In nanoseconds; never 0, since no device is done at once.</summary>
    public ulong TimeOf(ulong bytes) =>
        Math.Max(1, LatencyNanoseconds + (ulong)((UInt128)bytes * NanosecondsPerSecond / Math.Max(1, BytesPerSecond)));
}
