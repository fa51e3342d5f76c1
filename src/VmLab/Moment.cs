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
    const int MostInChain = 64;

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

    Moment(MomentFile file, Fleet fleet, FramePool pool, SavedMoment saved, Moment? parent)
    {
        (Name, Fleet, Parent, Saved, File) = (file.Name, fleet, parent, saved, saved.Path);
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

    /// <summary>
    /// The moment that its file tells it from, where it was loaded from such a file; a lab that grew from this may be restored to it.
    /// </summary>
    public Moment? Parent { get; private set; }

    /// <summary>What a bundle of a failure knows it by; <see langword="null"/> where it needs none: the run makes it again.</summary>
    internal string? BundledAs { get; private set; }

    /// <summary>The file that it was last saved to, or was loaded from.</summary>
    internal SavedMoment? Saved { get; private set; }

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
    /// holds by hash: it is read for that, unless there is a parent.
    /// </remarks>
    /// <param name="parent">
    /// An earlier moment of the same lab, or one that the lab grew from, in a file of the same folder: only what differs from it is
    /// written, so that time and bytes follow what was changed. Its file is needed to load this one.
    /// </param>
    /// <exception cref="LabException">The file cannot be written, or the parent is none that it can have.</exception>
    public void Save(string path, Moment? parent = null)
    {
        LabMoment state = State;
        path = Path.GetFullPath(path);
        SavedMoment? origin = parent is null ? null : OriginFor(path, parent);
        ImmutableArray<ulong?> hashes = _guests.IsDefault ? _guestHashes : [.. _guests.Select(guest => guest.ContentHash)];
        ImmutableArray<ImageContent> images = origin?.Images ?? MomentFile.ReadImages(Fleet);
        UInt128 hash = new MomentFile(Name, MomentFile.Define(Fleet), hashes, images, state).Write(
            path, origin is null ? MomentOrigin.None : new MomentOrigin(Path.GetFileName(origin.Path), origin.Hash), parent?.State);
        Saved = new SavedMoment(path, hash, images, origin);
        Pump.Current?.NoteSaved(path);
        GC.KeepAlive(parent);
        GC.KeepAlive(this);   // whose frames were read
    }

    /// <summary>Loads a moment from a file, which stays in use for as long as the moment and what grows from it.</summary>
    /// <remarks>
    /// In the replay of a failure it is the file that the bundle has of this path, unless the run itself has saved one there.
    /// All of the file is checked, and of those that it is told from. Its memory is mapped: what machines do not change stays in the
    /// host's page cache.
    /// </remarks>
    /// <param name="fleet">The fleet that it is of, where a program's own code is part of that.</param>
    /// <exception cref="LabException">
    /// There is no such file; it is damaged, of another VmLab, or of another fleet; or the file that it is told from is.
    /// </exception>
    public static Moment Load(string path, Fleet? fleet = null)
    {
        if (Pump.Current?.HasSaved(Path.GetFullPath(path)) == true) return LoadFile(path, fleet);
        string key = FailureBundle.KeyOf(path);
        LabOptions options = Pump.Current?.Options ?? LabOptions.FromEnvironment();
        string? bundled = options.Moments is { } brought ? Path.Combine(brought, key, Path.GetFileName(path)) : null;
        Moment moment = LoadFile(System.IO.File.Exists(bundled) ? bundled : path, fleet);
        moment.BundledAs = key;
        return moment;
    }

    /// <summary>Loads a moment of the store.</summary>
    /// <param name="key">What it is known by there, and in bundles.</param>
    internal static Moment LoadCached(string path, Fleet fleet, string key)
    {
        Moment moment = LoadFile(path, fleet);
        moment.BundledAs = key;
        return moment;
    }

    static Moment LoadFile(string path, Fleet? fleet)
    {
        Moment moment = Load(path, fleet, MostInChain);
        foreach (ImageContent image in MomentFile.ReadImages(moment.Fleet))
            if (!moment.Saved!.Images.Contains(image)) throw new LabException(
                $"The moment {path} cannot be loaded. The disk image {image.Path} holds something else than when the moment was saved.");
        return moment;
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
                (Saved, Parent, BundledAs) = (made.Saved, made.Parent, made.BundledAs);
                if (!made._guests.IsDefault) _guests = made._guests;
            }
            if (_guests.IsDefault) _guests = await PrepareGuests();
        }
        finally
        {
            _preparing.Release();
        }
    }

    static Moment Load(string path, Fleet? fleet, int mostInChain)
    {
        try
        {
            using RecordReader reader = StateFile.Open(path, out UInt128 hash);
            var origin = reader.Read<MomentOrigin>();
            if (origin.Parent is null && origin.Hash != 0) throw reader.Damaged("it names no parent, and the hash of one");
            Moment? parent = origin.Parent is null ? null : LoadParent(path, origin, fleet, mostInChain - 1);
            FramePool pool = parent?.Pool ?? new FramePool(HostMemory.Free());
            MomentFile file = MomentFile.Read(reader, pool, parent?.State);
            Fleet own = file.FleetOr(fleet ?? parent?.Fleet);
            Check(file, own);
            return new Moment(file, own, pool, new SavedMoment(Path.GetFullPath(path), hash, file.Images, parent?.Saved), parent);
        }
        catch (LabException refusal)
        {
            throw new LabException($"The moment {path} cannot be loaded. {refusal.Message}", refusal);
        }
    }

    static Moment LoadParent(string path, MomentOrigin origin, Fleet? fleet, int mostInChain)
    {
        string name = origin.Parent!;
        if (name.Length == 0 || Path.GetFileName(name) != name) throw new LabException($"Its parent \"{name}\" is no file beside it.");
        if (mostInChain == 0) throw new LabException($"More than {MostInChain} moments are told from each other.");
        string parent = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path))!, name);
        if (!System.IO.File.Exists(parent)) throw new LabException($"It holds what differs from {name}, which is not beside it.");
        return StateFile.HashOf(parent) == origin.Hash ? Load(parent, fleet, mostInChain) : throw new LabException(
            $"It holds what differs from {name}, and the file of that name beside it is another than the one that was there.");
    }

    /// <summary>The file of a parent, to be told from in a file of this path.</summary>
    SavedMoment OriginFor(string path, Moment parent)
    {
        if (parent._pool != _pool)
            throw new LabException($"The {parent} cannot be the parent of \"{Name}\": it is of another lab, and none that this lab grew from.");
        SavedMoment saved = parent.Saved ?? throw new LabException($"The {parent} cannot be a parent yet: save it first.");
        if (Path.GetDirectoryName(saved.Path) != Path.GetDirectoryName(path))
            throw new LabException($"The moment is told from {saved.Path}: save it in the same folder, and not as {path}.");
        if (saved.Chain.Any(file => file.Path == path))
            throw new LabException($"The moment is told from {path}, which it would replace: save it under another name.");
        if (saved.Chain.Count() >= MostInChain)
            throw new LabException($"{MostInChain} moments are told from each other already: save this one without a parent.");
        return saved.IsThere ? saved : throw new LabException(
            $"{saved.Path} does not hold \"{parent.Name}\" any more: save that one again first.");
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
