using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Devices.Virtio;

namespace VmLab.Machines;

/// <summary>A device to be, that a machine has besides what every PC has.</summary>
public abstract record DeviceSpec;

/// <summary>A disk: a virtio block device.</summary>
/// <param name="Name">For the user, and for the guest as the disk's serial number.</param>
/// <param name="Size">A whole number of 512-byte sectors.</param>
public sealed record DiskSpec(string Name, ByteSize Size) : DeviceSpec
{
    /// <summary>Path of a qcow2 file, or of one of raw bytes, that the disk holds at first; the file is never written.</summary>
    public string? Image { get; init; }

    /// <summary>What the disk holds at power-on, of an earlier one of the same size and image.</summary>
    public DiskMoment? Content { get; init; }

    /// <summary>What is wrong with the disk at power-on.</summary>
    public Values<DriveFault> Faults { get; init; }

    public bool IsReadOnly { get; init; }

    public DiskTiming Timing { get; init; } = DiskTiming.Default;
}

/// <summary>A network card: a virtio network device.</summary>
public sealed record NicSpec(MacAddress Address) : DeviceSpec
{
    /// <summary>Of each way.</summary>
    public ServiceRate Rate { get; init; } = VirtioNet.DefaultRate;
}

/// <summary>A source of seeded randomness: a virtio entropy device.</summary>
public sealed record EntropySpec : DeviceSpec;

/// <summary>A port for bytes both ways: a virtio console.</summary>
public sealed record ConsoleSpec : DeviceSpec;

/// <summary>A virtio balloon.</summary>
public sealed record BalloonSpec : DeviceSpec;
