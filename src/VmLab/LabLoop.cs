using System.Globalization;
using System.Text;
using VmLab.Core;
using VmLab.Guests;
using VmLab.Machines;
using VmLab.Running;
using VmLab.Tracing;

namespace VmLab;

// The loop: waits, quanta, and what happens between them.
public sealed partial class Lab
{
    /// <summary>A wait that throws at its limit, and when its machine stops.</summary>
    /// <param name="failure">Says what did not come, for the message: "alice's console did not show ...".</param>
    /// <param name="machine">The machine that must bring it, or <see langword="null"/> for any.</param>
    /// <param name="isHook">Whether to look where a machine is held, too.</param>
    /// <param name="followsTime">Whether what it looks at may change while every machine sleeps.</param>
    internal Wait<T> WaitFor<T>(
        string failure, TimeSpan? within, Vm? machine, bool needsKernel, Look<T> look, bool isHook = false, bool followsTime = false)
    {
        TimeSpan limit = within ?? _options.Limit;
        return new Wait<T>
        {
            LimitAt = limit == Timeout.InfiniteTimeSpan ? ulong.MaxValue : TimeAfter(limit),
            Machine = machine,
            NeedsKernel = needsKernel,
            IsHook = isHook,
            FollowsTime = followsTime,
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
        if (_broken is { } broken) return Task.FromException<T>(broken);
        if (cancellation.IsCancellationRequested) return Task.FromCanceled<T>(cancellation);
        if (_options.Stop.IsCancellationRequested) return Task.FromCanceled<T>(_options.Stop);
        if (wait.TryEnd(Nanoseconds, IsHopeless(wait))) return wait.Task;
        _waits.Add(wait);
        return cancellation.CanBeCanceled ? Cancellable(wait, cancellation) : wait.Task;
    }

    /// <summary>
    /// Runs every machine to the end of the quantum, or to the nearest end of a wait, and settles what came of it. Where hooks
    /// hold a machine, the script is told first, and the quantum ends when it has caught up.
    /// </summary>
    internal void Advance()
    {
        if (_options.Stop.IsCancellationRequested)
        {
            EndWaits(wait => wait.Cancel(_options.Stop));
            return;
        }
        if (HasEnded()) return;
        bool catchesUp = _machines.Exists(machine => machine.IsHeld);
        ulong target = catchesUp ? Nanoseconds : NextTarget();
        var running = _machines.FindAll(machine => catchesUp ? machine.IsHeld : machine.IsRunning)
            .ConvertAll(machine => machine.Powered);
        if (_options.ShuffleSeed is not null) Shuffle(running);
        _watchdog?.Begin();
        using (_options.Stop.UnsafeRegister(_ => DropGdb(), null)) _crew.Run(running, target);
        _watchdog?.End();
        ulong before = Nanoseconds;
        Nanoseconds = target;
        if (_stall is { } stall) Break(new InfrastructureException($"{stall}{Environment.NewLine}{Report()}"));
        if (IsKilledByGdb) EndWaits(wait => wait.Cancel(new CancellationToken(canceled: true)));
        if (_machines.Exists(machine => machine.IsHeld))
        {
            SettleHooks();
            return;
        }
        Settle();
        LookForPlaces(before);
        Record.Sample();
        _trace?.Look();
        _options.Observer?.Advanced(this);
    }

    /// <inheritdoc cref="Add(Vm?, ulong, string, EventKind, uint)"/>
    internal void Add(Vm? machine, string what, EventKind kind = EventKind.Note, uint task = 0) =>
        Add(machine, Nanoseconds, what, kind, task);

    /// <summary>Adds an event to the timeline, at the quantum's end where one is being settled.</summary>
    /// <param name="time">Lab time, in nanoseconds.</param>
    /// <param name="task">Number of the command that it is the beginning or the end of; else 0.</param>
    internal void Add(Vm? machine, ulong time, string what, EventKind kind = EventKind.Note, uint task = 0)
    {
        _happened.Add((time, machine?.Index ?? -1,
            new TimelineEvent(Time(time), machine?.Name, what, kind) { Task = task, Branch = Record.Now.Number }));
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
        NoteUnfired();
        _lastReport = ReportOf(_machines);
        Record.Close();
        _isClosed = true;
        EndWaits(wait => wait.Fail(new LabException($"Lab \"{Fleet.Name}\" was closed while this was awaited.")));
        ForgetMigrations();
        _watchdog?.Dispose();
        _crew.Dispose();
        foreach (Vm machine in _machines) machine.Close();
        foreach (Link link in _links) link.Close();
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
        lab.RequireFired();
        if (lab.Unmet is [var first, ..]) throw new InvariantException($"It was never so that {first}.", lab.Report());
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
            _machines.Add(new Vm(this, spec, _machines.Count, _guests[_machines.Count], build, root.State.Machines[_machines.Count]));
        RestoreLinks(root.State);
        if (root.Seed != Seed) Reseed();
        ArmPlaces();
        Record.Begin(root);
        Add(null, $"grown from \"{root.Name}\"", EventKind.Restored);
        StartTrace();
    }

    async Task PowerOn(MachineBuilder build)
    {
        if (Fleet.Machines.IsEmpty) throw new LabException($"Fleet \"{Fleet.Name}\" has no machine: add one with .Vm(...).");
        HostMemory.RequireRoomFor(Fleet, HostMemory.Free());
        _options.Observer?.Started(this);
        var prepared = new Dictionary<Guest, IBootable>();
        var pages = new EqualPages();
        foreach (MachineSpec spec in Fleet.Machines)
        {
            Guest guest = spec.Guest
                ?? throw new LabException($"Machine \"{spec.Name}\" has nothing to boot: say .Boot(Guest...).");
            if (!prepared.TryGetValue(guest, out IBootable? bootable))
                prepared[guest] = bootable = await guest.PrepareAsync(new Preparation(this), _options.Stop);
            _guests = _guests.Add(bootable);
            _machines.Add(new Vm(this, spec, _machines.Count, bootable, build, null));
            if (Fleet.Machines.Length > 1) _machines[^1].Powered.Machine.ShareMemory(pages);
        }
        if (_options.Gdb is { } gdb && _pump.Labs.Count == 0) AwaitGdb(gdb);
        StartTrace();
    }

    void StartTrace()
    {
        if (_options.Trace is { } trace) _trace = new TraceHook(trace.Machine is { } name ? this[name] : _machines[0], trace);
    }

    ulong NextTarget()
    {
        ulong target = Math.Min(Math.Max((Nanoseconds / _quantum + 1) * _quantum, QuietUntil()), Math.Max(_agenda.Next, Nanoseconds));
        foreach (Wait wait in _waits) target = Math.Min(target, wait.LimitAt);
        foreach (Link link in _links) target = Math.Min(target, link.Faults.NextAt);
        target = Math.Min(target, MigrationsAt());
        return Math.Min(target, EndsAt);
    }

    /// <summary>
    /// The last quantum's end before which nothing happens in any machine and nobody asks: while all sleep, those before it are left out,
    /// and no state, event or wait can tell. A function of the lab's state and script alone.
    /// </summary>
    ulong QuietUntil()
    {
        if (!_invariants.IsEmpty || KeepsHashes || _waits.Exists(wait => wait.FollowsTime)) return 0;
        ulong quiet = Nanoseconds + LongestSkip;
        foreach (Vm machine in _machines)
            if (machine.IsRunning) quiet = Math.Min(quiet, machine.Powered.QuietUntil);
        return quiet / _quantum * _quantum;
    }

    /// <summary>Tells the script of the machines that hooks hold, in the order of (time, machine).</summary>
    void SettleHooks()
    {
        foreach (Vm machine in _machines.Where(machine => machine.IsHeld).OrderBy(machine => machine.Powered.Now).ToArray())
        {
            try
            {
                machine.SettleHooks();
            }
            catch (Exception failure)   // the script's own: it ends what the script awaits
            {
                EndWaits(wait => wait.Fail(failure));
            }
        }
        if (SettleCrashes() is { } crash) Break(crash);
        EndWaits(wait => wait.IsHook);
    }

    /// <summary>Notes what guests' kernels tell of their own end.</summary>
    /// <returns>The first that was not announced.</returns>
    KernelPanicException? SettleCrashes()
    {
        KernelPanicException? first = null;
        foreach (Vm machine in _machines) first = machine.SettleCrashes() is { } crash ? first ?? crash : first;
        return first;
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
        KernelPanicException? crashed = SettleCrashes();
        foreach (Vm machine in _machines) machine.SettleStatus();
        SettleLinks();
        SettleMigrations();
        _isSettling = false;
        WriteTimeline();
        if (crashed is not null) Break(crashed);
        if (_invariants.Look() is { } broken) Break(broken);
        _agenda.DoDue(Nanoseconds);
        EndWaits();
    }

    void Break(string invariant)
    {
        Add(null, $"no longer so: {invariant}", EventKind.Failure);
        Break(new InvariantException($"It is no longer so that {invariant}.", Report()));
    }

    /// <summary>Every await fails from now on, until the lab is restored; of several failures, the first counts.</summary>
    void Break(LabException failure)
    {
        _broken ??= failure;
        EndWaits(wait => wait.Fail(_broken));
    }

    internal Moment TakeMoment(string name)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        if (_machines.Find(machine => machine.IsHeld) is { } held)
            throw new LabException(
                $"{held.Name} is stopped by a hook inside a quantum, and a moment lies between two: let time go on first, "
                + "with `await lab.RunFor(1.Microseconds)`.");
        _sharesPool = true;
        Add(null, $"snapshot \"{name}\"", EventKind.Snapshot);
        var moment = new Moment(name, Fleet, Pool, _guests, new LabMoment(
            Seed, Nanoseconds, [.. _machines.Select(machine => machine.Snapshot())], [.. _links.Select(link => link.Snapshot())]));
        Record.Note(moment);
        return moment;
    }

    /// <summary>From a moment of another seed on, what the lab draws for its machines follows from its own.</summary>
    void Reseed()
    {
        foreach (Vm machine in _machines) machine.Reseed();
        foreach (Link link in _links) link.Reseed();
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
    void EndWaits() => EndWaits(_ => true);

    void EndWaits(Predicate<Wait> isLookedAt)
    {
        foreach (Wait wait in _waits.FindAll(isLookedAt))
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

    // On the watchdog's thread.
    void Bark()
    {
        if (IsHeldByGdb) return;
        _stall = $"Lab \"{Fleet.Name}\" has been in one quantum for {Spoken(_options.Patience)} of host time, at {Spoken(Now)} of guest time: "
            + "the host is overloaded, or VmLab hangs. Nothing of this reaches a guest.";
        _options.Observer?.Stalled(this, _stall);
    }
}
