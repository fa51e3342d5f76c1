using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using VmLab.Core;
using VmLab.Guests;
using VmLab.Introspection;
using VmLab.Machines;
using VmLab.Running;

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
public sealed class Lab : IAsyncDisposable
{
    const int MostEvents = 100_000, ReportedLines = 10;

    static readonly ulong s_quantum = (ulong)Fleet.Quantum.TotalNanoseconds;

    readonly LabOptions _options;
    readonly Pump _pump;
    readonly Crew _crew;
    readonly Watchdog? _watchdog;
    readonly HashLog? _hashes;
    readonly List<Vm> _machines = [];
    readonly List<Wait> _waits = [];
    readonly List<TimelineEvent> _timeline = [];
    readonly List<(ulong Time, int Machine, TimelineEvent What)> _happened = [];
    Rng _shuffle;
    ImmutableArray<IBootable> _guests = [];
    ulong _rewound;
    bool _sharesPool;
    string? _lastReport;
    bool _isSettling;
    bool _isClosed;

    Lab(Fleet fleet, LabOptions options, Pump pump, Moment? root)
    {
        Fleet = fleet;
        Seed = options.Seed ?? root?.Seed ?? fleet.RootSeed;
        Nanoseconds = root?.Nanoseconds ?? 0;
        Pool = root?.Pool ?? new FramePool(HostMemory.Free());
        _sharesPool = root is not null;
        _options = options;
        _pump = pump;
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

    /// <summary>gdb ended it: every await ended as if cancelled.</summary>
    public bool IsKilledByGdb => _machines.Exists(machine => machine.IsKilledByGdb);

    internal ulong Nanoseconds { get; private set; }

    internal FramePool Pool { get; }

    internal bool IsAwaited => _waits.Count > 0;

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
    public static Task<Lab> StartAsync(Moment moment, LabOptions? options = null) =>
        StartAsync(moment.Fleet, options, PcMachine.Build, moment);

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
        catch
        {
            lab.Close();
            throw;
        }
        pump.Add(lab);
        return lab;
    }

    /// <summary>Waits until every guest is up.</summary>
    /// <param name="within">Limit in guest time, for each guest; the lab's own where it is <see
    /// langword="null"/>.</param>
    public Task Boot(TimeSpan? within = null, CancellationToken cancellation = default)
    {
        RequireOpen();
        return Task.WhenAll(_machines.Select(machine => machine.Boot(within, cancellation)));
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
        WaitFor<bool>("The condition did not come to hold", within, null, needsKernel: false, (out bool holds) => holds = condition()),
        cancellation);

    /// <summary>Takes a moment of the whole lab.</summary>
    /// <remarks>Costs a step for each 2 MiB of RAM and each page written since the last moment.</remarks>
    public Task<Moment> Snapshot(string name)
    {
        RequireOpen();
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        _sharesPool = true;
        Add(null, $"snapshot \"{name}\"");
        return Task.FromResult(new Moment(name, this, Pool, _guests, [.. _machines.Select(machine => machine.Snapshot())]));
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
        _rewound += Nanoseconds - moment.Nanoseconds;   // modulo 2^64: a moment may lie ahead
        Nanoseconds = moment.Nanoseconds;
        for (int i = 0; i < _machines.Count; i++) _machines[i].Restore(moment.Machines[i]);
        Add(null, $"restored \"{moment.Name}\"");
        return Task.CompletedTask;
    }

    /// <summary>Grows a new lab from a moment, or from this lab as it is; the caller closes it.</summary>
    public async Task<Lab> Fork(Moment? moment = null) => await StartAsync(moment ?? await Snapshot("fork"), _options);

    /// <summary>Writes a remark into the timeline.</summary>
    public void Note(string remark) => Add(null, remark);

    /// <summary>Hash of all machines: equal for equal runs, whatever the threads.</summary>
    public ulong StateHash() => _machines.Aggregate(new StateHash(), (hash, machine) => hash.Add(machine.StateHash)).Value;

    /// <summary>Where the lab stands: seed, guest time, and the last lines of each console.</summary>
    public string Report() => _lastReport ?? ReportOf(_machines);

    public ValueTask DisposeAsync()
    {
        Close();
        return ValueTask.CompletedTask;
    }

    /// <summary>A wait that throws at its limit, and when its machine stops.</summary>
    /// <param name="failure">Says what did not come, for the message: "alice's console did not show ...".</param>
    /// <param name="machine">The machine that must bring it, or <see langword="null"/> for any.</param>
    internal Wait<T> WaitFor<T>(string failure, TimeSpan? within, Vm? machine, bool needsKernel, Look<T> look)
    {
        TimeSpan limit = within ?? _options.Limit;
        return new Wait<T>
        {
            LimitAt = limit == Timeout.InfiniteTimeSpan ? ulong.MaxValue : TimeAfter(limit),
            Machine = machine,
            NeedsKernel = needsKernel,
            Look = look,
            OnLimit = () => throw new LimitReachedException(
                $"{failure} within {Spoken(limit)} of guest time.", ReportOf(machine)),
            OnHopeless = () => throw new MachineStoppedException(
                $"{failure}: {machine?.WhyStopped ?? "no machine runs any more"}.", ReportOf(machine)),
        };
    }

    /// <summary>Waits for something; every await of a lab goes through here.</summary>
    internal Task<T> Await<T>(Wait<T> wait, CancellationToken cancellation)
    {
        RequireOpen();
        if (cancellation.IsCancellationRequested) return Task.FromCanceled<T>(cancellation);
        if (_options.Stop.IsCancellationRequested) return Task.FromCanceled<T>(_options.Stop);
        if (wait.TryEnd(Nanoseconds, IsHopeless(wait))) return wait.Task;
        _waits.Add(wait);
        return cancellation.CanBeCanceled ? Cancellable(wait, cancellation) : wait.Task;
    }

    /// <summary>
    /// Runs every machine to the end of the quantum, or to the nearest end of a wait, and settles what came of it.
    /// </summary>
    internal void Advance()
    {
        if (_options.Stop.IsCancellationRequested)
        {
            EndWaits(wait => wait.Cancel(_options.Stop));
            return;
        }
        ulong target = (Nanoseconds / s_quantum + 1) * s_quantum;
        foreach (Wait wait in _waits) target = Math.Min(target, wait.LimitAt);
        var running = _machines.FindAll(machine => machine.IsRunning).ConvertAll(machine => machine.Powered);
        if (_options.ShuffleSeed is not null) Shuffle(running);
        _watchdog?.Begin();
        using (_options.Stop.UnsafeRegister(_ => DropGdb(), null)) _crew.Run(running, target);
        _watchdog?.End();
        Nanoseconds = target;
        Settle();
        if (IsKilledByGdb) EndWaits(wait => wait.Cancel(new CancellationToken(canceled: true)));
        _options.Observer?.Advanced(this);
    }

    internal void Add(Vm? machine, string what) => Add(machine, Nanoseconds, what);

    internal void Add(Vm? machine, ulong time, string what)
    {
        _happened.Add((time, machine?.Index ?? -1, new TimelineEvent(Time(time), machine?.Name, what)));
        if (!_isSettling) WriteTimeline();
    }

    internal void RequireOpen()
    {
        _pump.RequireHere();
        if (_isClosed) throw new LabException($"Lab \"{Fleet.Name}\" is closed.");
    }

    internal void Close()
    {
        if (_isClosed) return;
        _lastReport = ReportOf(_machines);
        _isClosed = true;
        EndWaits(wait => wait.Fail(new LabException($"Lab \"{Fleet.Name}\" was closed while this was awaited.")));
        _watchdog?.Dispose();
        _crew.Dispose();
        foreach (Vm machine in _machines) machine.Close();
        _hashes?.Dispose();
        if (!_sharesPool) Pool.Dispose();   // else it lives as long as the moments and labs that have frames there
        _options.Observer?.Closed(this);
    }

    internal static TimeSpan Time(ulong nanoseconds) => TimeSpan.FromTicks((long)(nanoseconds / 100));

    // Past 500 years, time counts as without end.
    ulong TimeAfter(TimeSpan time) => (UInt128)Nanoseconds + (UInt128)time.Ticks * 100 is var sum && sum < ulong.MaxValue
        ? (ulong)sum
        : ulong.MaxValue;

    static string Spoken(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.######} s");

    static async Task RunOn(Pump pump, Fleet fleet, Func<Lab, Task> script, LabOptions? options)
    {
        await using Lab lab = await StartAsync(fleet, options ?? pump.Options);
        await script(lab);
    }

    async Task<T> Cancellable<T>(Wait<T> wait, CancellationToken cancellation)
    {
        await using CancellationTokenRegistration registration = cancellation.UnsafeRegister(
            _ => _pump.Post(_ => Cancel(wait, cancellation), null), null);
        return await wait.Task;
    }

    void Cancel(Wait wait, CancellationToken cancellation)
    {
        wait.Cancel(cancellation);
        _waits.Remove(wait);
    }

    void Grow(Moment root, MachineBuilder build)
    {
        _options.Observer?.Started(this);
        _guests = root.Guests;
        foreach (MachineSpec spec in Fleet.Machines)
            _machines.Add(new Vm(this, spec, _machines.Count, _guests[_machines.Count], build, root.Machines[_machines.Count]));
        Add(null, $"grown from \"{root.Name}\"");
    }

    async Task PowerOn(MachineBuilder build)
    {
        if (Fleet.Machines.IsEmpty) throw new LabException($"Fleet \"{Fleet.Name}\" has no machine: add one with .Vm(...).");
        HostMemory.RequireRoomFor(Fleet, HostMemory.Free());
        _options.Observer?.Started(this);
        var prepared = new Dictionary<Guest, IBootable>();
        foreach (MachineSpec spec in Fleet.Machines)
        {
            Guest guest = spec.Guest
                ?? throw new LabException($"Machine \"{spec.Name}\" has nothing to boot: say .Boot(Guest...).");
            if (!prepared.TryGetValue(guest, out IBootable? bootable))
                prepared[guest] = bootable = await guest.PrepareAsync(new Preparation(this), _options.Stop);
            _guests = _guests.Add(bootable);
            _machines.Add(new Vm(this, spec, _machines.Count, bootable, build, null));
        }
        if (_options.Gdb is { } gdb && _pump.Labs.Count == 0) AwaitGdb(gdb);
    }

    void AwaitGdb(GdbOption option)
    {
        Vm machine = option.Machine is { } name ? this[name] : _machines[0];
        int port = machine.Gdb(option.Port, waits: true).Port;
        string symbols = machine.Linux.FindSymbols() is { } found ? $"-ex 'symbol-file {SymbolFile.Store(found)}' " : "";
        _options.Observer?.Preparing(this, $"{machine.Name} waits for gdb: gdb {symbols}-ex 'target remote :{port}'");
    }

    // A machine that gdb holds would hold the quantum, and so the lab's stop.
    void DropGdb()
    {
        foreach (Vm machine in _machines) machine.DropGdb();
    }

    void Settle()
    {
        _isSettling = true;
        foreach (Vm machine in _machines)
        {
            if (machine.Powered.Crash is { } crash) EndWaits(wait => wait.Fail(Crashed(machine, crash)));
            foreach (var (time, hash) in machine.Powered.Checkpoints) _hashes!.Add(machine.Index, machine.Name, time, hash);
            machine.Powered.Checkpoints.Clear();
            machine.Deliver();
        }
        _hashes?.Flush();
        foreach (Vm machine in _machines) machine.SettleStatus();
        _isSettling = false;
        WriteTimeline();
        EndWaits();
    }

    void Shuffle(List<PoweredMachine> machines)
    {
        for (int i = machines.Count - 1; i > 0; i--)
        {
            int other = (int)_shuffle.NextBelow((ulong)i + 1);
            (machines[i], machines[other]) = (machines[other], machines[i]);
        }
    }

    /// <summary>Puts what a quantum brought into the timeline, in the order of (time, machine, sequence).</summary>
    void WriteTimeline()
    {
        foreach (var (_, _, happened) in _happened.OrderBy(entry => (entry.Time, entry.Machine)))
        {
            if (_timeline.Count == MostEvents) _timeline.RemoveRange(0, MostEvents / 4);
            _timeline.Add(happened);
            _options.Observer?.Happened(this, happened);
        }
        _happened.Clear();
    }

    // A wait's condition may be the script's own code, which may start further waits.
    void EndWaits()
    {
        Wait[] waits = [.. _waits];
        foreach (Wait wait in waits)
            if (wait.TryEnd(Nanoseconds, IsHopeless(wait))) _waits.Remove(wait);
    }

    void EndWaits(Action<Wait> end)
    {
        _waits.ForEach(end);
        _waits.Clear();
    }

    bool IsHopeless(Wait wait) => !wait.OutlivesMachines && (wait.Machine is { } machine
        ? machine.Status != MachineStatus.Running || wait.NeedsKernel && machine.HasPanicked
        : _machines.TrueForAll(machine => machine.Status != MachineStatus.Running));

    InfrastructureException Crashed(Vm machine, Exception crash) => new(
        $"VmLab itself failed while {machine.Name} ran: {crash.Message}{Environment.NewLine}{ReportOf(machine)}", crash);

    internal string ReportOf(Vm? machine) => ReportOf(machine is null ? _machines : [machine]);

    string ReportOf(IReadOnlyList<Vm> machines)
    {
        var report = new StringBuilder();
        report.Append(
            CultureInfo.InvariantCulture,
            $"Lab \"{Fleet.Name}\", seed {Seed}, stood at {Now.TotalSeconds:0.000000} s of guest time.");
        foreach (Vm machine in machines)
        {
            IReadOnlyList<string> lines = machine.Console.Tail(ReportedLines);
            report.AppendLine().Append(CultureInfo.InvariantCulture, $"  {machine}, {machine.Now.TotalSeconds:0.000000} s, ");
            report.Append(lines.Count == 0 ? "printed nothing." : "last printed:");
            foreach (string line in lines) report.AppendLine().Append("    | ").Append(line);
        }
        return report.ToString();
    }

    // Passed on at once, on whatever thread: System.Progress would post it to the pump, which waits.
    sealed class Preparation(Lab lab) : IProgress<string>
    {
        public void Report(string value) => lab._options.Observer?.Preparing(lab, value);
    }

    void Bark()
    {
        if (_machines.Exists(machine => machine.IsHeldByGdb)) return;
        _options.Observer?.Stalled(this,
            $"Lab \"{Fleet.Name}\" has been in one quantum for {Spoken(_options.Patience)} of host time, at {Spoken(Now)} of guest time: "
            + "the host is overloaded, or VmLab hangs. Nothing of this reaches a guest.");
    }
}
