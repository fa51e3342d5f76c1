using VmLab.Core;
using VmLab.Devices.Storage;

namespace VmLab.Faults;

/// <summary>Sectors of a disk, of 512 bytes each.</summary>
public readonly record struct SectorRange(ulong First, ulong Count)
{
    /// <summary>All there are.</summary>
    public static SectorRange All { get; } = new(0, ulong.MaxValue);

    internal ulong End => First + Math.Min(Count, ulong.MaxValue - First);

    public override string ToString() => this == All ? "all sectors"
        : Count == 1 ? $"sector {First}" : $"sectors {First} to {End - 1}";
}

/// <summary>What can go wrong with a disk of a machine.</summary>
/// <remarks>A broken disk stays broken over a loss of power, for as long as the fault lasts.</remarks>
public readonly record struct DiskFaults(string Machine, string Disk)
{
    /// <summary>Requests fail: the guest is told of an input/output error.</summary>
    /// <param name="at">All sectors where it is left out. Flushes fail whatever the sectors.</param>
    /// <param name="requests">How many of them; 0 for all while the fault lasts.</param>
    public Fault Error(DiskOperations operations = DiskOperations.All, SectorRange? at = null, int requests = 0) =>
        Of(DriveFaultKind.Error, operations, at, requests);

    /// <summary>Requests take longer.</summary>
    public Fault Latency(TimeSpan more, DiskOperations operations = DiskOperations.All) =>
        new DiskFault(Machine, Disk, DriveFaultKind.Latency, operations, SectorRange.All, 0)
        {
            Delay = Require.InRange(more, 1.Microseconds, TimeSpan.FromHours(1)),
        };

    /// <summary>Of each write, only the first few sectors arrive, as the seed decides; it is said to have succeeded.</summary>
    /// <inheritdoc cref="Error"/>
    public Fault Torn(SectorRange? at = null, int requests = 0) => Of(DriveFaultKind.Torn, DiskOperations.Writes, at, requests);

    /// <summary>Writes are said to have succeeded, and are lost.</summary>
    /// <inheritdoc cref="Error"/>
    public Fault Dropped(SectorRange? at = null, int requests = 0) => Of(DriveFaultKind.Dropped, DiskOperations.Writes, at, requests);

    /// <summary>
    /// Flushes leave some of the 4 KiB blocks that were written in the cache, as the seed decides: a loss of power may undo
    /// what the guest holds to be safe, and keep what it wrote later.
    /// </summary>
    /// <inheritdoc cref="Error"/>
    public Fault Reordered(int requests = 0) => Of(DriveFaultKind.Reordered, DiskOperations.Flushes, null, requests);

    /// <summary>Writes fail where nothing was written before, as on a thin volume whose pool is used up.</summary>
    public Fault Full() => Of(DriveFaultKind.Full, DiskOperations.Writes, null, 0);

    /// <summary>Flips bits of what is stored, one in each of some sectors.</summary>
    /// <param name="at">Drawn from what was written where it is left out; from the range, where that is larger.</param>
    /// <param name="sectors">How many sectors, 1 to 65,536.</param>
    public Fault Rotten(SectorRange? at = null, int sectors = 1) =>
        new DiskRot(Machine, Disk, at, Require.InRange(sectors, 1, 65_536));

    DiskFault Of(DriveFaultKind kind, DiskOperations operations, SectorRange? at, int requests) =>
        new(Machine, Disk, kind, operations, at ?? SectorRange.All, Require.InRange(requests, 0, int.MaxValue));
}

/// <summary>A fault that a disk has from its strike to its end.</summary>
/// <param name="Requests">How many requests it meets; 0 for all.</param>
public sealed record DiskFault(
    string Machine, string DiskName, DriveFaultKind Kind, DiskOperations Operations, SectorRange Sectors, int Requests)
    : MachineFault(Machine)
{
    /// <summary>What a request takes longer.</summary>
    public TimeSpan Delay { get; init; }

    internal override bool OutlivesPower => true;

    internal override bool IsSound => base.IsSound && Requests >= 0 && Delay >= TimeSpan.Zero && Delay <= TimeSpan.FromHours(1);

    DriveFault OfDrive => new(Kind, Operations, Sectors.First, Sectors.End, (ulong)Delay.TotalNanoseconds, Requests);

    internal override void RequireTarget(Vm vm) => vm.Spec.RequireDisk(DiskName);

    internal override string Strike(Struck target, ref Rng random)
    {
        target.Machine.FaultyDrive(DiskName).Add(OfDrive);
        string how = Requests == 0 ? "" : $", {Requests} of them";
        return $"disk {DiskName}: " + Kind switch
        {
            DriveFaultKind.Error => $"{Operations.ToString().ToLowerInvariant()} of {Sectors} fail{how}",
            DriveFaultKind.Latency => $"{Operations.ToString().ToLowerInvariant()} take {Delay.TotalMilliseconds:0.###} ms longer",
            DriveFaultKind.Torn => $"writes of {Sectors} are torn{how}",
            DriveFaultKind.Dropped => $"writes of {Sectors} are dropped{how}",
            DriveFaultKind.Reordered => $"flushes are not kept{how}",
            _ => "no room for more",
        };
    }

    internal override string Lift(Struck target)
    {
        target.Machine.FaultyDrive(DiskName).Remove(OfDrive);
        return $"disk {DiskName}: {Kind.ToString().ToLowerInvariant()} is over";
    }
}

/// <inheritdoc cref="DiskFaults.Rotten"/>
public sealed record DiskRot(string Machine, string DiskName, SectorRange? Sectors, int Count) : MachineFault(Machine)
{
    internal override bool IsSound => base.IsSound && Count is >= 1 and <= 65_536;

    internal override void RequireTarget(Vm vm) => vm.Spec.RequireDisk(DiskName);

    internal override string Strike(Struck target, ref Rng random)
    {
        const int BitsOfSector = 8 * IBlockBackend.SectorSize;
        DiskDrive drive = target.Machine.Drive(DiskName);
        ulong last = 0;
        for (int i = 0; i < Count; i++)
        {
            last = Sectors is { } range ? Drawn(range, drive.Sectors, ref random) : drive.DrawSector(ref random);
            drive.Rot(last, (int)random.NextBelow(BitsOfSector));
        }
        return Count == 1 ? $"disk {DiskName}: a bit of sector {last} flipped" : $"disk {DiskName}: a bit flipped in each of {Count} sectors";
    }

    static ulong Drawn(SectorRange range, ulong sectors, ref Rng random)
    {
        ulong first = Math.Min(range.First, sectors - 1);
        return first + random.NextBelow(Math.Max(1, Math.Min(range.End, sectors) - first));
    }
}
