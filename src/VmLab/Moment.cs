using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Guests;
using VmLab.Running;

namespace VmLab;

/// <summary>
/// A whole lab at one moment: processors, memory, devices, clocks, random streams, what is under way between lab and
/// guests. Immutable, and good for any number of restores and forks.
/// </summary>
/// <remarks>
/// It costs memory only for what machines go on to change, and none any more once it is disposed of, or forgotten.
/// </remarks>
public sealed class Moment : IDisposable
{
    readonly SemaphoreSlim _preparing = new(1);
    readonly Func<Task<Moment>>? _recipe;
    FramePool? _pool;
    LabMoment? _state;
    ImmutableArray<IBootable> _guests;
    ImmutableArray<ulong?> _guestHashes = [];

    internal Moment(string name, Fleet fleet, FramePool pool, ImmutableArray<IBootable> guests, LabMoment state)
    {
        (Name, Fleet) = (name, fleet);
        (_pool, _guests, _state) = (pool, guests, state);
    }

    /// <summary>A moment to be made when it is first asked for.</summary>
    internal Moment(string name, Fleet fleet, Func<Task<Moment>> recipe) => (Name, Fleet, _recipe) = (name, fleet, recipe);

    Moment(MomentFile file, Fleet fleet, FramePool pool)
    {
        (Name, Fleet) = (file.Name, fleet);
        (_pool, _state, _guestHashes) = (pool, file.Lab, file.Guests);
    }

    public string Name { get; }

    public Fleet Fleet { get; }

    /// <summary>The seed of the run that it is of.</summary>
    public ulong Seed => _state?.Seed ?? Fleet.RootSeed;

    /// <summary>Guest time since the lab's start.</summary>
    /// <exception cref="LabException">It is one that is prepared when it is first used, and that has not been yet.</exception>
    public TimeSpan Time => Lab.Time(State.Nanoseconds);

    /// <summary>Path of the file that it was loaded from.</summary>
    public string? File { get; private set; }

    /// <exception cref="LabException">It is not prepared.</exception>
    internal LabMoment State => _state ?? throw new LabException(
        $"The moment \"{Name}\" has not been prepared yet: grow a lab from it first, with Lab.StartAsync(moment) or Fork(moment).");

    /// <summary>Where the machines' frames are, for all labs that grow from here.</summary>
    internal FramePool Pool => _pool!;

    /// <summary>What each machine boots at its next power-on.</summary>
    internal ImmutableArray<IBootable> Guests => _guests;

    /// <summary>Writes the moment to a file, whole or not at all: what was there before stays until the new one is on the disk.</summary>
    /// <remarks>
    /// Equal moments give equal files. Guests and scripted parts of a program's own are not in it, and of a disk's image only what it
    /// holds by hash: it is read for that.
    /// </remarks>
    /// <exception cref="LabException">The file cannot be written.</exception>
    public void Save(string path)
    {
        LabMoment state = State;
        ImmutableArray<ulong?> hashes = _guests.IsDefault ? _guestHashes : [.. _guests.Select(guest => guest.ContentHash)];
        new MomentFile(Name, MomentFile.Define(Fleet), hashes, MomentFile.ReadImages(Fleet), state).Write(path);
        GC.KeepAlive(this);   // whose frames were read
    }

    /// <summary>Loads a moment from a file, which stays in use for as long as the moment and what grows from it.</summary>
    /// <remarks>All of the file is checked. Its memory is mapped: what machines do not change stays in the host's page cache.</remarks>
    /// <param name="fleet">The fleet that it is of, where a program's own code is part of that.</param>
    /// <exception cref="LabException">There is no such file; it is damaged, of another VmLab, or of another fleet.</exception>
    public static Moment Load(string path, Fleet? fleet = null)
    {
        try
        {
            var (file, pool) = MomentFile.Read(path);
            Fleet own = file.FleetOr(fleet);
            Check(file, own);
            return new Moment(file, own, pool) { File = Path.GetFullPath(path) };
        }
        catch (LabException refusal)
        {
            throw new LabException($"The moment {path} cannot be loaded. {refusal.Message}", refusal);
        }
    }

    public override string ToString() => _state is null
        ? $"moment \"{Name}\" of fleet \"{Fleet.Name}\", not prepared yet"
        : $"moment \"{Name}\" of lab \"{Fleet.Name}\", seed {Seed}, at {Time.TotalSeconds:0.000000} s";

    public void Dispose()
    {
        if (_state is null) return;
        foreach (VmMoment machine in _state.Machines) machine.Powered.Machine.Dispose();
    }

    /// <summary>Makes it good for labs to grow from.</summary>
    /// <exception cref="LabException">A machine would boot something else at its next power-on than when it was saved.</exception>
    internal async Task PrepareAsync()
    {
        if (!_guests.IsDefault) return;
        await _preparing.WaitAsync();
        try
        {
            if (_state is null)
            {
                Moment made = await _recipe!();
                (_pool, _guestHashes, _state, File) = (made._pool, made._guestHashes, made._state, made.File);
                if (!made._guests.IsDefault) _guests = made._guests;
            }
            if (_guests.IsDefault) _guests = await PrepareGuests();
        }
        finally
        {
            _preparing.Release();
        }
    }

    static void Check(MomentFile file, Fleet fleet)
    {
        bool fits = file.Lab.Machines.Length == fleet.Machines.Length && file.Guests.Length == fleet.Machines.Length
            && file.Lab.Links.Select(link => link.Segment.Ports.Count).SequenceEqual(fleet.Links.Select(link => link.Ports.Length));
        for (int i = 0; fits && i < fleet.Machines.Length; i++)
        {
            VmMoment machine = file.Lab.Machines[i];
            fits = machine.PowerOns > 0 && machine.Powered.Machine.Memory.Size == GuestMemory.SizeOf(fleet.Machines[i].MemorySize);
        }
        if (!fits) throw new LabException("It has other machines or networks than its fleet.");
        if (MomentRules.Broken(file.Lab, fleet) is { } rule) throw new LabException($"It is of a lab that cannot be: {rule}.");
        foreach (ImageContent image in MomentFile.ReadImages(fleet))
            if (!file.Images.Contains(image))
                throw new LabException($"The disk image {image.Path} holds something else than when the moment was saved.");
    }

    async Task<ImmutableArray<IBootable>> PrepareGuests()
    {
        var guests = ImmutableArray.CreateBuilder<IBootable>();
        var prepared = new Dictionary<Guest, IBootable>();
        foreach (MachineSpec machine in Fleet.Machines)
        {
            Guest guest = machine.Guest!;
            if (!prepared.TryGetValue(guest, out IBootable? bootable))
                prepared[guest] = bootable = await guest.PrepareAsync(new Progress<string>(), CancellationToken.None);
            if (bootable.ContentHash != _guestHashes[guests.Count])
                throw new LabException(
                    $"{machine.Name} would boot something else at its next power-on than when \"{Name}\" was saved: {guest} has changed. "
                    + "Take the moment anew.");
            guests.Add(bootable);
        }
        return guests.ToImmutable();
    }
}

/// <summary>A lab was restored to a moment while this was awaited.</summary>
public sealed class MomentRestoredException(string message) : LabException(message);
