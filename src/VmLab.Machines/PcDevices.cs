using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Devices.Virtio;

namespace VmLab.Machines;

/// <summary>The devices that a machine has besides what every PC has, and what lies behind them.</summary>
sealed class PcDevices : IDisposable
{
    readonly List<(DiskSpec Spec, FaultyDrive Drive)> _disks = [];
    readonly List<ImageFile> _files = [];

    /// <summary>Is told of each request to a disk, by the disk's name, before it is done.</summary>
    public Action<string, DiskRequest>? Requested { get; set; }

    /// <summary>Is told what a fault of a disk does to a request.</summary>
    public Action<string, string>? Affected { get; set; }

    /// <exception cref="LabException">There is no disk of that name.</exception>
    public FaultyDrive DriveOf(string name) =>
        _disks.Find(disk => disk.Spec.Name == name).Drive ?? throw new LabException(
            $"There is no disk \"{name}\" but {string.Join(", ", _disks.Select(disk => disk.Spec.Name).DefaultIfEmpty("none"))}.");

    /// <exception cref="LabException">A disk's image cannot be opened, or two disks have one name.</exception>
    public (VirtioBlock Block, FaultyDrive Drive) Add(DiskSpec spec, VirtioBoard board, Rng random)
    {
        if (_disks.Any(disk => disk.Spec.Name == spec.Name))
            throw new LabException($"There are two disks named \"{spec.Name}\": give each its own name.");
        ImageFile? file = spec.Image is null ? null : ImageFile.Open(spec.Image);
        if (file is not null) _files.Add(file);
        var drive = new DiskDrive(spec.Size, file, spec.IsReadOnly);
        if (spec.Content is { } content) drive.Restore(content);
        var faulty = new FaultyDrive(drive, random)
        {
            Requested = request => Requested?.Invoke(spec.Name, request),
            Affected = what => Affected?.Invoke(spec.Name, what),
        };
        foreach (DriveFault fault in spec.Faults) faulty.Add(fault);
        _disks.Add((spec, faulty));
        return (new VirtioBlock(board, faulty, spec.Name, spec.Timing), faulty);
    }

    /// <summary>Every disk loses its power, and with it what was not flushed.</summary>
    public void LosePower(Rng random)
    {
        foreach ((DiskSpec spec, FaultyDrive drive) in _disks) drive.Drive.LosePower(random.Child(spec.Name));
    }

    /// <summary>The same devices, holding what these hold now.</summary>
    public ImmutableArray<DeviceSpec> Describe(ImmutableArray<DeviceSpec> specs) =>
        [.. specs.Select(spec => spec is DiskSpec disk ? Describe(disk, DriveOf(disk.Name)) : spec)];

    static DiskSpec Describe(DiskSpec disk, FaultyDrive drive) =>
        disk with { Content = drive.Drive.Snapshot(), Faults = drive.Save().Faults };

    public void AddTo(StateHash hash)
    {
        foreach ((_, FaultyDrive drive) in _disks) drive.Drive.AddTo(hash);
    }

    public IReadOnlyList<DiskMoment> Save() => [.. _disks.Select(disk => disk.Drive.Drive.Snapshot())];

    /// <exception cref="LabException">The moments are of other disks.</exception>
    public void Restore(IReadOnlyList<DiskMoment> moments)
    {
        if (moments.Count != _disks.Count) throw new LabException("The moment is of a machine with other disks.");
        for (int i = 0; i < _disks.Count; i++) _disks[i].Drive.Drive.Restore(moments[i]);
    }

    public void Dispose() => _files.ForEach(file => file.Dispose());
}
