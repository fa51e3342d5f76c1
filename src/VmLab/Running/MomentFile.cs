using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Guests;
using VmLab.Machines;

namespace VmLab.Running;

/// <summary>A moment as a file: what it is of, and all that the lab was.</summary>
/// <param name="Fleet">Records of the fleet's definition, with a <see cref="GuestOfCaller"/> for each guest that only a program can
/// define.</param>
/// <param name="Guests">By machine, the hash of what it boots at its next power-on.</param>
/// <param name="Images">What is in the files that the fleet's disks come from.</param>
sealed record MomentFile(
    string Name, ImmutableArray<byte> Fleet, ImmutableArray<ulong?> Guests, ImmutableArray<ImageContent> Images, LabMoment Lab)
{
    /// <summary>Reads the files that a fleet's disks come from.</summary>
    /// <exception cref="LabException">One of them cannot be read.</exception>
    public static ImmutableArray<ImageContent> ReadImages(Fleet fleet)
    {
        IEnumerable<string> paths = fleet.Machines.SelectMany(machine => machine.Devices).OfType<DiskSpec>()
            .Select(disk => disk.Image).OfType<string>().Distinct();
        return [.. paths.Select(path =>
        {
            using ImageFile image = ImageFile.Open(path);
            return image.ReadContent();
        })];
    }

    /// <param name="origin">Where the earlier moment is.</param>
    /// <param name="earlier">What this is told from; <see langword="null"/> writes all.</param>
    /// <returns>The hash that names the file.</returns>
    /// <exception cref="LabException">It cannot be written, or something in it is no plain data.</exception>
    public UInt128 Write(string path, MomentOrigin origin, LabMoment? earlier)
    {
        var pages = new PageList();
        var writer = new RecordWriter(pages, PartsOf(earlier));
        writer.Write(origin);
        writer.Write(this);
        return StateFile.Write(path, writer.Bytes, pages);
    }

    /// <param name="reader">Stands behind the origin.</param>
    /// <param name="pool">Gets the pages; that of the earlier moment where there is one.</param>
    /// <exception cref="LabException">It is none, or of another VmLab.</exception>
    public static MomentFile Read(RecordReader reader, FramePool pool, LabMoment? earlier)
    {
        reader.Begin(pool, PartsOf(earlier));
        var file = reader.Read<MomentFile>();
        reader.End();
        return file;
    }

    public static ImmutableArray<byte> Define(Fleet fleet)
    {
        var writer = new RecordWriter(new PageList());
        writer.Write(fleet.WithGuests(guest => IsPlain(guest) ? guest : new GuestOfCaller(guest.GetType().Name, guest.Readiness)));
        return [.. writer.Bytes];
    }

    /// <summary>The fleet of the file, or the one given, which must be the same.</summary>
    public Fleet FleetOr(Fleet? given)
    {
        if (given is not null)
            return Define(given).AsSpan().SequenceEqual(Fleet.AsSpan()) ? given : throw new LabException(
                $"It is of another fleet than \"{given.Name}\": {Told(Defined())}, and not {Told(given)}.");
        Fleet own = Defined();
        foreach (MachineSpec machine in own.Machines)
            if (machine.Guest is GuestOfCaller guest)
                throw new LabException($"{machine.Name} boots a {guest.Kind} of the program that saved it: give Moment.Load its fleet.");
        return own;
    }

    Fleet Defined()
    {
        RecordReader reader = RecordReader.WithoutPages(Fleet.AsMemory());
        var fleet = reader.Read<Fleet>();
        reader.End();
        return fleet;
    }

    // In the order in which they come among the records.
    static EarlierParts? PartsOf(LabMoment? lab) => lab is null ? null : new(
        from machine in lab.Machines.Select(machine => machine.Powered.Machine)
        from part in machine.Disks.SelectMany(disk => new[] { disk.Current, disk.Durable }).Prepend<object>(machine.Memory)
        select part);

    static bool IsPlain(Guest guest)
    {
        try
        {
            new RecordWriter(new PageList()).Write(guest);
            return true;
        }
        catch (LabException)
        {
            return false;
        }
    }

    static string Told(Fleet fleet) => $"\"{fleet.Name}\" with seed {fleet.RootSeed} and "
        + string.Join(", ", fleet.Machines.Select(machine => $"{machine.Name} {machine.MemorySize} {machine.Guest}"));
}

/// <summary>What a file's moment is told from: another file, beside it.</summary>
/// <param name="Parent">Name of that file; <see langword="null"/> where all is in this one.</param>
/// <param name="Hash">That file's.</param>
sealed record MomentOrigin(string? Parent, UInt128 Hash)
{
    public static MomentOrigin None { get; } = new(null, 0);
}

/// <summary>A file that has a moment in it.</summary>
/// <param name="Path">From the root.</param>
/// <param name="Hash">What is in it.</param>
/// <param name="Images">What was in the files that the fleet's disks come from.</param>
/// <param name="Parent">What it is told from.</param>
sealed record SavedMoment(string Path, UInt128 Hash, ImmutableArray<ImageContent> Images, SavedMoment? Parent)
{
    /// <summary>Whether the file still is the one that it was.</summary>
    public bool IsThere
    {
        get
        {
            try
            {
                return StateFile.HashOf(Path) == Hash;
            }
            catch (LabException)
            {
                return false;
            }
        }
    }

    /// <summary>This file, and all that it takes to read it.</summary>
    public IEnumerable<SavedMoment> Chain => Parent is null ? [this] : Parent.Chain.Prepend(this);
}

/// <summary>Stands in a file for a guest that a program defines.</summary>
/// <param name="Kind">Name of its type.</param>
sealed record GuestOfCaller(string Kind, Readiness When) : Guest
{
    public override Readiness Readiness => When;

    public override Task<IBootable> PrepareAsync(IProgress<string> progress, CancellationToken cancellation) =>
        throw new LabException($"A {Kind} is known to the program that defined it alone: give Moment.Load its fleet.");
}
