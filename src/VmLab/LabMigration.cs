using VmLab.Core;
using VmLab.Migrating;
using VmLab.Running;

namespace VmLab;

// Machines on their way from host to host.
public sealed partial class Lab
{
    readonly List<MigrationRun> _migrations = [];
    readonly List<RemoteDeparture> _departures = [];

    /// <summary>Moves a machine to another host while its guest runs, in guest time, over the wire between the two hosts.</summary>
    /// <param name="how">Where it is <see langword="null"/>: pre-copy with at most 300 ms of downtime, then post-copy.</param>
    /// <returns>What came of it; a migration that was not completed throws nothing.</returns>
    /// <exception cref="LabException">The machine runs on no host, or on that one, or does not run, or is on its way already; or no wire joins
    /// the hosts.</exception>
    public Task<MigrationReport> Migrate(VmRef vm, HostRef to, Migration? how = null, CancellationToken cancellation = default) =>
        Migrate(this[vm], to, how, cancellation);

    /// <inheritdoc cref="Migrate(VmRef, HostRef, Migration?, CancellationToken)"/>
    public async Task<MigrationReport> Migrate(Vm vm, HostRef to, Migration? how = null, CancellationToken cancellation = default)
    {
        RequireOpen();
        Link wire = WireFor(vm, to);
        var run = new MigrationRun(this, vm, wire, to, how ?? Migration.Auto(300.Milliseconds));
        _migrations.Add(run);
        Add(vm, $"begins to move from {vm.HostName} to {to}", EventKind.Migration);
        run.Work();
        await AwaitEnd(() => run.IsOver, run.Cancel, cancellation);
        return run.Report();
    }

    async Task AwaitEnd(Func<bool> isOver, Action cancel, CancellationToken cancellation)
    {
        try
        {
            await Await(new Wait<bool>
            {
                LimitAt = ulong.MaxValue,
                OutlivesMachines = true,
                Look = (out bool hasEnded) => hasEnded = isOver(),
                OnLimit = () => true,
                OnHopeless = () => true,
            }, cancellation);
        }
        catch (OperationCanceledException)
        {
            cancel();
            throw;
        }
    }

    /// <summary>Moves a machine to another process while its guest runs, in real time; from then on it runs there, and not here.</summary>
    /// <remarks>What the lab does then depends on the host's time, and is no function of its seed. The lab runs no faster than real time
    /// meanwhile.</remarks>
    /// <inheritdoc cref="Migrate(VmRef, HostRef, Migration?, CancellationToken)"/>
    public async Task<MigrationReport> Migrate(VmRef vm, Host to, Migration? how = null, CancellationToken cancellation = default)
    {
        RequireOpen();
        Vm machine = this[vm];
        RequireFree(machine);
        if (Fleet.Links.FirstOrDefault(link => link.Ports.Any(port => port.Machine == machine.Name)) is { } link)
            throw new LabException($"{machine.Name} is on the network {link.Name}, which does not reach into another process: "
                + "only machines without networks migrate for real.");
        var departure = new RemoteDeparture(this, machine, to, how ?? Migration.Auto(300.Milliseconds));
        _departures.Add(departure);
        Add(machine, $"begins to move to {to}", EventKind.Migration);
        await AwaitEnd(() => departure.IsOver, departure.Cancel, cancellation);
        return departure.Report();
    }

    /// <summary>Whether machines run beside this one.</summary>
    internal bool HasOthers(Vm machine) => _machines.Exists(other => other != machine && other.IsRunning);

    /// <summary>Why a host has no room for a machine; <see langword="null"/> where it has.</summary>
    internal string? WhyNoRoom(HostRef host, MigrationRun run)
    {
        HostSpec spec = HostOf(host);
        ulong taken = 0;
        foreach (Vm machine in _machines)
            if (machine.HostName == host.Name) taken += machine.Spec.MemorySize.Bytes;
        foreach (MigrationRun other in _migrations)
            if (other != run && other.To == host && other.Vm.HostName != host.Name) taken += other.Memory.Bytes;
        return taken + run.Memory.Bytes <= spec.MemorySize.Bytes
            ? null
            : $"{host} has {spec.MemorySize} of memory, of which {new ByteSize(taken)} are taken: {run.Vm.Name}'s {run.Memory} do not fit";
    }

    /// <summary>A machine runs on another host than before.</summary>
    internal void Moved(Vm machine)
    {
        Add(machine, $"runs on {machine.HostName}", EventKind.Migration);
        ArmPlaces();
    }

    HostSpec HostOf(HostRef host) => Fleet.Hosts.FirstOrDefault(spec => spec.Name == host.Name) ?? throw new LabException(
        $"Lab \"{Fleet.Name}\" has no host \"{host}\"; it has {string.Join(", ", Fleet.Hosts.Select(spec => spec.Name).DefaultIfEmpty("none"))}.");

    Link WireFor(Vm vm, HostRef to)
    {
        HostOf(to);
        if (vm.HostName is not { } from)
            throw new LabException($"{vm.Name} runs on no host of the fleet: say where with .On(host), to have it migrate.");
        if (from == to.Name) throw new LabException($"{vm.Name} runs on {to} already.");
        RequireFree(vm);
        return _links.FirstOrDefault(link => link.Spec.JoinsHosts && link.Spec.Ports.All(port => port.Machine == from || port.Machine == to.Name))
            ?? throw new LabException($"No wire joins {from} and {to}: add one with .Wire(name, out var wire, {from}, {to}).");
    }

    void RequireFree(Vm vm)
    {
        if (!vm.HasPower) throw new LabException($"{vm.Name} does not run: {vm.WhyStopped}.");
        if (_migrations.Exists(run => run.Vm == vm) || _departures.Exists(departure => departure.Vm == vm))
            throw new LabException($"{vm.Name} is on its way to another host already.");
    }

    /// <summary>Lab time at which there is something to do for a migration.</summary>
    ulong MigrationsAt()
    {
        ulong next = ulong.MaxValue;
        foreach (RemoteDeparture departure in _departures) next = Math.Min(next, departure.NextAt);
        if (_migrations.Count == 0) return next;
        foreach (MigrationRun run in _migrations) next = Math.Min(next, run.NextAt);
        foreach (Link link in _links)
            if (link.Spec.JoinsHosts)
                foreach (var inbox in link.Inboxes) next = Math.Min(next, inbox.NextAt);
        return Math.Max((next - 1) / _quantum * _quantum + _quantum, Nanoseconds + 1);
    }

    /// <summary>Hands over what came to hosts, and has every migration do what there is to do.</summary>
    void SettleMigrations()
    {
        foreach (Link link in _links)
        {
            for (int port = 0; link.Spec.JoinsHosts && port < link.Inboxes.Count; port++)
                while (link.Inboxes[port].TryTake(Nanoseconds, out Values<byte> frame))
                    if (HostStream.IsOne(frame.Span, out uint session)) _migrations.Find(run => run.Session == session)?.Receive(port, frame.Span);
        }
        foreach (Vm machine in _machines)
            if (machine.Powered.TakeStall()) machine.Freeze();
        foreach (MigrationRun run in _migrations) run.Work();
        foreach (RemoteDeparture departure in _departures) departure.Work();
        foreach (RemoteDeparture departure in _departures.FindAll(departure => departure.IsOver))
        {
            departure.Dispose();
            _departures.Remove(departure);
        }
        foreach (MigrationRun run in _migrations.FindAll(run => run.IsOver))
        {
            MigrationReport report = run.Report();
            Record.Note(report);
            Add(run.Vm, $"migration {report.From} -> {report.To}: {report.Outcome}{(report.Reason.Length > 0 ? $": {report.Reason}" : "")}",
                EventKind.Migration);
            run.Dispose();
            _migrations.Remove(run);
        }
    }

    /// <summary>Ends all migrations where they are: of a lab that was restored, or is closed.</summary>
    void ForgetMigrations()
    {
        foreach (MigrationRun run in _migrations) run.Dispose();
        _migrations.Clear();
        foreach (RemoteDeparture departure in _departures) departure.Dispose();
        _departures.Clear();
    }
}
