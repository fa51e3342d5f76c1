using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Machines;

namespace VmLab;

/// <summary>A machine to be: a value. Nothing runs until a lab runs its fleet.</summary>
public sealed record MachineSpec
{
    const int LongestName = 63, LongestDiskName = 20, SectorSize = 512;

    /// <param name="name">1 to 63 letters, digits and hyphens, as in a host name; a Debian guest takes it as its
    /// own.</param>
    /// <exception cref="LabException">The name is no host name.</exception>
    public MachineSpec(string name)
    {
        if (name.Length is 0 or > LongestName || !name.All(c => char.IsAsciiLetterOrDigit(c) || c == '-') || name[0] == '-')
            throw new LabException(
                $"\"{name}\" is no name for a machine: use 1 to {LongestName} letters, digits and hyphens, as in a host name.");
        Name = name;
    }

    public string Name { get; }

    /// <summary>What the machine boots; <see langword="null"/> until <see cref="Boot"/> says.</summary>
    public Guest? Guest { get; private init; }

    public ByteSize MemorySize { get; private init; } = 128.MiB;

    /// <summary>What runs its instructions; <see langword="null"/> is as the lab's options say.</summary>
    public Engine? Engine { get; private init; }

    /// <summary>The host that it runs on at first; <see langword="null"/> is one of its own, which it cannot leave.</summary>
    public string? HostName { get; private init; }

    /// <summary>What the machine has besides what every PC has, in the order of its PCI slots.</summary>
    public ImmutableArray<DeviceSpec> Devices { get; private init; } = [];

    /// <summary>What the machine boots: one of <see cref="VmLab.Guest"/>'s, or a kind of your own.</summary>
    public MachineSpec Boot(Guest guest) => this with { Guest = guest };

    /// <exception cref="ArgumentOutOfRangeException"><paramref name="size"/> is not 1 MiB to 64 GiB.</exception>
    public MachineSpec Memory(ByteSize size) => this with { MemorySize = Require.InRange(size, 1.MiB, 64.GiB) };

    /// <summary>What runs its instructions. No result depends on it.</summary>
    public MachineSpec On(Engine engine) => this with { Engine = engine };

    internal MachineSpec OnNoHost() => this with { HostName = null };

    /// <summary>Where it runs at first, and may be migrated from.</summary>
    public MachineSpec On(HostRef host) => this with { HostName = host.Name };

    /// <summary>Adds an empty disk: the first is /dev/vda in a Linux guest.</summary>
    /// <param name="name">1 to 20 letters, digits and hyphens; the guest sees it as the disk's serial number.</param>
    /// <param name="size">A whole number of 512-byte sectors.</param>
    /// <exception cref="LabException">The name or the size will not do, or another disk has the name.</exception>
    public MachineSpec Disk(string name, ByteSize size)
    {
        if (size.Bytes == 0 || size.Bytes % SectorSize != 0)
            throw new LabException($"The disk \"{name}\" has {size.Bytes} bytes, which is no whole number of {SectorSize}-byte sectors.");
        return With(NamedRight(new DiskSpec(name, size)));
    }

    /// <summary>Adds a disk that holds at first what a file does, qcow2 or raw bytes; what the guest writes stays in memory.</summary>
    /// <param name="image">Path of the file, which is never written, and nobody may write while a lab uses it.</param>
    /// <exception cref="LabException">The name will not do, or the file is no image that can be used.</exception>
    public MachineSpec Disk(string name, string image)
    {
        using ImageFile file = ImageFile.Open(Path.GetFullPath(image));
        return With(NamedRight(new DiskSpec(name, file.Size) { Image = file.Path }));
    }

    /// <summary>Adds a network card: the first is eth0 in a Debian guest.</summary>
    public MachineSpec Nic(MacAddress address) => With(new NicSpec(address));

    /// <summary>The one way in for every device.</summary>
    public MachineSpec With(DeviceSpec device) => this with { Devices = Devices.Add(device) };

    DiskSpec NamedRight(DiskSpec disk)
    {
        if (disk.Name.Length is 0 or > LongestDiskName || !disk.Name.All(c => char.IsAsciiLetterOrDigit(c) || c == '-'))
            throw new LabException(
                $"\"{disk.Name}\" is no name for a disk: use 1 to {LongestDiskName} letters, digits and hyphens.");
        if (Devices.OfType<DiskSpec>().Any(other => other.Name == disk.Name))
            throw new LabException($"{Name} has a disk named \"{disk.Name}\" already: give each its own name.");
        return disk;
    }

    /// <exception cref="LabException">The machine has no disk of that name.</exception>
    internal DiskSpec RequireDisk(string name) => Devices.OfType<DiskSpec>().FirstOrDefault(disk => disk.Name == name)
        ?? throw new LabException($"{Name} has no disk \"{name}\" but "
            + $"{string.Join(", ", Devices.OfType<DiskSpec>().Select(disk => disk.Name).DefaultIfEmpty("none"))}: give it one by .Disk(...).");

    // An array is equal to itself alone.
    public bool Equals(MachineSpec? other) =>
        other is not null && Name == other.Name && Guest == other.Guest && MemorySize == other.MemorySize
        && (Engine, HostName) == (other.Engine, other.HostName) && Devices.SequenceEqual(other.Devices);

    public override int GetHashCode() => HashCode.Combine(Name, Guest, MemorySize, Devices.Length);
}
