using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Devices.Virtio;

namespace VmLab.Machines;

/// <summary>The devices that a machine has besides what every PC has, and what lies behind them.</summary>
sealed class PcDevices : IDisposable
{
    readonly List<(DiskSpec Spec, DiskDrive Drive)> _disks = [];
    readonly List<RawFile> _files = [];

    /// <exception cref="LabException">There is no disk of that name.</exception>
    public DiskDrive DriveOf(string name) =>
        _disks.Find(disk => disk.Spec.Name == name).Drive ?? throw new LabException(
            $"There is no disk \"{name}\" but {string.Join(", ", _disks.Select(disk => disk.Spec.Name).DefaultIfEmpty("none"))}.");

    /// <exception cref="LabException">A disk's image cannot be opened, or two disks have one name.</exception>
    public VirtioBlock Add(DiskSpec spec, VirtioBoard board)
    {
        if (_disks.Any(disk => disk.Spec.Name == spec.Name))
            throw new LabException($"There are two disks named \"{spec.Name}\": give each its own name.");
        RawFile? file = spec.Image is null ? null : new RawFile(spec.Image);
        if (file is not null) _files.Add(file);
        var drive = new DiskDrive(spec.Size, file, spec.IsReadOnly);
        if (spec.Content is { } content) drive.Restore(content);
        _disks.Add((spec, drive));
        return new VirtioBlock(board, drive, spec.Name, spec.Timing);
    }

    /// <summary>Every disk loses its power, and with it what was not flushed.</summary>
    public void LosePower(Rng random)
    {
        foreach ((DiskSpec spec, DiskDrive drive) in _disks) drive.LosePower(random.Child(spec.Name));
    }

    /// <summary>The same devices, holding what these hold now.</summary>
    public ImmutableArray<DeviceSpec> Describe(ImmutableArray<DeviceSpec> specs) =>
        [.. specs.Select(spec => spec is DiskSpec disk ? disk with { Content = DriveOf(disk.Name).Snapshot() } : spec)];

    public void AddTo(StateHash hash)
    {
        foreach ((_, DiskDrive drive) in _disks) drive.AddTo(hash);
    }

    public IReadOnlyList<DiskMoment> Save() => [.. _disks.Select(disk => disk.Drive.Snapshot())];

    /// <exception cref="LabException">The moments are of other disks.</exception>
    public void Restore(IReadOnlyList<DiskMoment> moments)
    {
        if (moments.Count != _disks.Count) throw new LabException("The moment is of a machine with other disks.");
        for (int i = 0; i < _disks.Count; i++) _disks[i].Drive.Restore(moments[i]);
    }

    public void Dispose() => _files.ForEach(file => file.Dispose());
}
