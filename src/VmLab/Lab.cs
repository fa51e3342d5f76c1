using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Guests;
using VmLab.Reporting;
using VmLab.Running;
using VmLab.Tracing;

namespace VmLab;

/// <summary>
/// A fleet running. It advances only while its script awaits one of its operations, and every run of a seed is the
/// same.
/// </summary>
/// <remarks>
/// Machines run side by side in quanta that depend on the fleet alone; what they sent, and how they stopped, reaches
/// the script at
/// a quantum's end, in the order (time, machine, sequence). A lab belongs to the pump that it was started on.
/// </remarks>
public sealed partial class Lab : IAsyncDisposable
{
    const int MostEvents = 100_000, ReportedLines = 10;

    // The most time, in nanoseconds, that goes by at once while every machine sleeps.
    const ulong LongestSkip = 3_600_000_000_000;

    readonly ulong _quantum;
    readonly LabOptions _options;
    readonly Pump _pump;
    readonly Crew _crew;
    readonly Watchdog? _watchdog;
    readonly HashLog? _hashes;
    TraceHook? _trace;
    readonly List<Vm> _machines = [];
    readonly List<Wait> _waits = [];
    readonly Agenda _agenda = new();
    readonly Invariants _invariants = new();
    readonly List<TimelineEvent> _timeline = [];
    readonly List<(ulong Time, int Machine, TimelineEvent What)> _happened = [];
    Rng _shuffle;
    ImmutableArray<IBootable> _guests = [];
    ulong _rewound;
    bool _sharesPool;
    string? _lastReport;
    LabException? _broken;
    volatile string? _stall;
    bool _isSettling;
    bool _isClosed;

    Lab(Fleet fleet, LabOptions options, Pump pump, Moment? root)
    {
        Fleet = fleet;
        GrownFrom = root;
        Seed = options.Seed ?? root?.Seed ?? fleet.RootSeed;
        Nanoseconds = root?.State.Nanoseconds ?? 0;
        Record = new LabRecord(this);
        Pool = root?.Pool ?? new FramePool(HostMemory.Free());
        _sharesPool = root is not null;
        _options = options;
        _pump = pump;
        _quantum = (ulong)fleet.Lookahead.TotalNanoseconds;
        _links = LinksOf(fleet);
        _shuffle = Rng.FromSeed(options.ShuffleSeed ?? 0);
        if (options.Hashes is { Length: > 0 } path) _hashes = new HashLog(path, appends: pump.Labs.Count > 0);
        int threads = Require.InRange(options.Threads, 0, 256);
        _crew = new Crew(Math.Clamp(threads > 0 ? threads : Environment.ProcessorCount, 1, Math.Max(1, fleet.Machines.Length)));
        if (options.Patience > TimeSpan.Zero) _watchdog = new Watchdog(options.Patience, Bark);
    }

    public Fleet Fleet { get; }

    /// <summary>The seed of this run.</summary>
    public ulong Seed { get; }

    /// <summary>Guest time since the lab's start.</summary>
    public TimeSpan Now => Time(Nanoseconds);

    /// <summary>Guest time that has gone by, which never goes back.</summary>
    public TimeSpan Elapsed => Time(Nanoseconds + _rewound);

    public IReadOnlyList<Vm> Machines => _machines;

    /// <summary>What happened so far, in order; past 100,000 events, the oldest are dropped.</summary>
    public IReadOnlyList<TimelineEvent> Timeline => _timeline;

    /// <summary>The faults that were injected and have not struck yet.</summary>
    public IReadOnlyList<Fault> Unfired => 
        [.. _machines.SelectMany(machine => machine.Faults.Unfired), .. _links.SelectMany(link => link.Faults.Unfired)];

    /// <summary>The conditions given to <see cref="Sometimes"/> that have not held yet.</summary>
    public IReadOnlyList<string> Unmet => _invariants.Unmet;

    internal ulong Nanoseconds { get; private set; }

    internal FramePool Pool { get; }

    internal bool IsAwaited => _waits.Count > 0;

    internal Engine Engine => _options.Engine;

    internal ulong? Lockstep => _options.Lockstep;

    internal bool KeepsHashes => _hashes is not null;

    /// <exception cref="LabException">No machine of this lab has that name.</exception>
    public Vm this[string name] => _machines.Find(machine => machine.Name == name)
        ?? throw new LabException(
            $"Lab \"{Fleet.Name}\" has no machine \"{name}\"; it has {string.Join(", ", _machines.Select(vm => vm.Name))}.");

    public Vm this[VmRef vm] => this[vm.Name];

    /// <summary>Runs a script on a new lab, and closes the lab after it.</summary>
    /// <remarks>Where the calling code has no pump, the calling thread runs the script to its end before this
    /// returns.</remarks>
    /// <param name="options">Those of the pump, or of the environment, where it is <see langword="null"/>.</param>
    public static Task RunAsync(Fleet fleet, Func<Lab, Task> script, LabOptions? options = null)
    {
        if (Pump.Current is { } pump) return RunOn(pump, fleet, script, options);
        pump = Pump.Open(options);
        try
        {
            pump.Drive(() => RunOn(pump, fleet, script, options));
            return Task.CompletedTask;
        }
        catch (Exception failure)
        {
            if (failure is not GuestException && pump.Labs.Count > 0) Console.Error.WriteLine(pump.Report());
            return Task.FromException(failure);
        }
        finally
        {
            pump.Close();
        }
    }

    /// <summary>
    /// Powers a fleet on and returns the lab, which the caller closes: for fixtures and for the REPL.
    /// </summary>
    /// <exception cref="LabException">The fleet has no machine, will not fit, or a guest is damaged; or the calling
    /// code has no pump.</exception>
    public static Task<Lab> StartAsync(Fleet fleet, LabOptions? options = null) =>
        StartAsync(fleet, options, PcMachine.Build);

    /// <summary>Grows a lab from a moment, which nothing of it can change, and returns the lab, which the caller closes.</summary>
    /// <remarks>Costs milliseconds, whatever the machines' memory.</remarks>
    /// <param name="options">With another seed than the moment's, faults and losses draw anew from there on.</param>
    public static async Task<Lab> StartAsync(Moment moment, LabOptions? options = null)
    {
        await moment.PrepareAsync();
        return await StartAsync(moment.Fleet, options, PcMachine.Build, moment);
    }

    internal static async Task<Lab> StartAsync(Fleet fleet, LabOptions? options, MachineBuilder build, Moment? root = null)
    {
        Pump pump = Pump.Current ?? throw new LabException(
            "A lab needs a pump to run on: use Lab.RunAsync, or [LabTest], or `vmlab repl`, or put your code in Pump.Run.");
        var lab = new Lab(fleet, options ?? pump.Options, pump, root);
        try
        {
            if (root is null) await lab.PowerOn(build);
            else lab.Grow(root, build);
        }
        catch (Exception failure)
        {
            lab.Close();
            // Its checksum is right and its records are whole, but no lab has ever been so.
            if (root?.File is { } path && failure is not LabException)
                throw new LabException($"The moment {path} is of no machine that there could be: {failure.Message}", failure);
            throw;
        }
        pump.Add(lab);
        return lab;
    }

    /// <summary>Waits until every guest is up.</summary>
    /// <param name="within">Limit in guest time, for each guest; the lab's own where it is <see
    /// langword="null"/>.</param>
    public async Task Boot(TimeSpan? within = null, CancellationToken cancellation = default)
    {
        RequireOpen();
        await Task.WhenAll(_machines.Select(machine => machine.Boot(within, cancellation)));
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive);   // images of guests, and all of RAM searched for symbols, are needed no more
    }

    /// <summary>Lets this much guest time go by, exactly.</summary>
    public Task RunFor(TimeSpan time, CancellationToken cancellation = default)
    {
        Require.InRange(time, TimeSpan.Zero, TimeSpan.MaxValue);
        ulong until = TimeAfter(time);
        return Await(new Wait<bool>
        {
            LimitAt = until,
            OutlivesMachines = true,
            Look = (out bool isOver) => isOver = Nanoseconds >= until,
            OnLimit = () => true,
            OnHopeless = () => true,
        }, cancellation);
    }

    /// <summary>Waits until a condition holds; it is asked at the end of every quantum.</summary>
    /// <param name="within">Limit in guest time; the lab's own where it is <see langword="null"/>.</param>
    /// <exception cref="LimitReachedException">It did not hold in time.</exception>
    /// <exception cref="MachineStoppedException">It does not hold, and no machine runs that could change
    /// it.</exception>
    public Task Until(Func<bool> condition, TimeSpan? within = null, CancellationToken cancellation = default) => Await(
        WaitFor<bool>("The condition did not come to hold", within, null, needsKernel: false, (out bool holds) => holds = condition(),
            followsTime: true),
        cancellation);

    /// <summary>Takes a moment of the whole lab.</summary>
    /// <remarks>Costs a step for each 2 MiB of RAM and each page written since the last moment.</remarks>
    /// <exception cref="LabException">A hook holds a machine inside a quantum.</exception>
    public Task<Moment> Snapshot(string name)
    {
        RequireOpen();
        return Task.FromResult(TakeMoment(name));
    }

    /// <summary>Makes the lab what it was at a moment, to the last bit; what the script awaits of it ends.</summary>
    /// <remarks>
    /// Guest time goes back with it, <see cref="Elapsed"/> does not. What was awaited throws
    /// <see cref="MomentRestoredException"/>; a command goes on, see <see cref="Vm.Resume"/>.
    /// </remarks>
    /// <exception cref="LabException">The moment is of another lab.</exception>
    public Task Restore(Moment moment)
    {
        RequireOpen();
        if (moment.Pool != Pool)
            throw new LabException($"The {moment} is of another lab than this: grow a lab from it by Lab.StartAsync(moment).");
        EndWaits(wait => wait.Fail(new MomentRestoredException($"Lab \"{Fleet.Name}\" was restored to \"{moment.Name}\" while this was awaited.")));
        ForgetMigrations();
        _broken = null;
        _rewound += Nanoseconds - moment.State.Nanoseconds;   // modulo 2^64: a moment may lie ahead
        Nanoseconds = moment.State.Nanoseconds;
        _agenda.Rewind(Nanoseconds);
        for (int i = 0; i < _machines.Count; i++) _machines[i].Restore(moment.State.Machines[i]);
        RestoreLinks(moment.State);
        if (moment.Seed != Seed) Reseed();
        ArmPlaces();
        Record.Begin(moment);
        Add(null, $"restored \"{moment.Name}\"", EventKind.Restored);
        return Task.CompletedTask;
    }

    /// <summary>Grows a new lab from a moment, or from this lab as it is; the caller closes it.</summary>
    /// <param name="seed">Draws anew what is drawn from now on; that of the moment where it is <see langword="null"/>.</param>
    public async Task<Lab> Fork(Moment? moment = null, ulong? seed = null) =>
        await StartAsync(moment ?? await Snapshot("fork"), seed is null ? _options : _options with { Seed = seed });

    /// <summary>Something to be done at a guest time, once a lab: <c>lab.At(5.Seconds).Restore(ready)</c>.</summary>
    /// <param name="time">Since the lab's start.</param>
    /// <exception cref="LabException">That time is over.</exception>
    public Schedule At(TimeSpan time)
    {
        RequireOpen();
        if (time < Now) throw new LabException($"At {Spoken(time)} nothing can be done any more: it is {Spoken(Now)}.");
        return new Schedule(this, _agenda, (ulong)time.TotalNanoseconds, period: 0);
    }

    /// <summary>Something to be done again and again: <c>lab.Every(250.Milliseconds).Snapshot(keep: 40)</c>.</summary>
    /// <param name="period">In guest time, at least 1 microsecond; the first time is one period from now.</param>
    public Schedule Every(TimeSpan period)
    {
        RequireOpen();
        var nanoseconds = (ulong)Require.InRange(period, 1.Microseconds, TimeSpan.MaxValue).TotalNanoseconds;
        return new Schedule(this, _agenda, Nanoseconds + nanoseconds, nanoseconds);
    }

    /// <summary>Says what must hold at the end of every quantum from now on; once it does not, every await fails.</summary>
    /// <param name="name">What the condition says, for the message.</param>
    /// <returns>What ends the watch when it is disposed of.</returns>
    public IDisposable Always(string name, Func<bool> holds) => _invariants.AddAlways(name, holds);

    /// <summary>Says what must hold at the end of some quantum before the lab's script ends.</summary>
    /// <inheritdoc cref="Always"/>
    public IDisposable Sometimes(string name, Func<bool> holds) => _invariants.AddSometimes(name, holds);

    /// <summary>Writes a remark into the timeline.</summary>
    public void Note(string remark) => Add(null, remark);

    /// <summary>Hash of all machines and networks: equal for equal runs, whatever the threads.</summary>
    public ulong StateHash() => _links.Aggregate(
        _machines.Aggregate(new StateHash(), (hash, machine) => hash.Add(machine.StateHash)),
        (hash, link) => hash.Add(link.StateHash)).Value;

    /// <summary>Where the lab stands: seed, guest time, and the last lines of each console.</summary>
    public string Report() => _lastReport ?? ReportOf(_machines);

    public ValueTask DisposeAsync()
    {
        Close();
        return ValueTask.CompletedTask;
    }
}
