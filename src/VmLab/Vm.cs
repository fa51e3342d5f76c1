using System.Collections.Immutable;
using System.Text;
using VmLab.Core;
using VmLab.Faults;
using VmLab.Guests;
using VmLab.Machines;
using VmLab.Machines.Gdb;
using VmLab.Running;

namespace VmLab;

/// <summary>A machine of a running lab.</summary>
public sealed partial class Vm
{
    readonly MachineBuilder _build;
    readonly IBootable _guest;
    readonly CommandChannel? _channel;
    readonly List<(ulong Time, string What)> _debugged = [];
    GdbServer? _gdb;
    readonly List<IHook> _hooks = [];
    PoweredMachine? _powered;
    MachineStatus _lastStatus = MachineStatus.Running;
    ulong? _pausedAt;
    int _powerOns;

    /// <param name="moment">What it begins as; it is powered on where there is none.</param>
    internal Vm(Lab lab, MachineSpec spec, int index, IBootable guest, MachineBuilder build, VmMoment? moment)
    {
        Lab = lab;
        Spec = spec;
        HostName = spec.HostName;
        Index = index;
        _guest = guest;
        _build = build;
        Console = new VmConsole(this);
        Cpu = new VmCpu(this);
        Memory = new VmMemory(this);
        Files = new VmFiles(this);
        Linux = new VmLinux(this);
        _crashes = new CrashHook(this);
        if (spec.Guest!.Readiness.HasChannel) _channel = new CommandChannel(bytes => Powered.Machine.SendToChannel(bytes));
        Faults = new MachineFaults(Rng.FromSeed(lab.Seed).Child("faults").Child(spec.Name));
        Ports = lab.PortsOf(spec);
        if (moment is null) PowerOn();
        else Begin(moment);
    }

    public Lab Lab { get; }

    public MachineSpec Spec { get; }

    public string Name => Spec.Name;

    public VmConsole Console { get; }

    public VmCpu Cpu { get; }

    public VmMemory Memory { get; }

    /// <summary>Files into and out of the running guest.</summary>
    public VmFiles Files { get; }

    /// <summary>The guest's kernel, if it is Linux, looked into from outside.</summary>
    public VmLinux Linux { get; }

    /// <summary>How often control came to the monitor since power-on, by reason.</summary>
    public ExitCounters Exits => Powered.Machine.Exits;

    /// <summary>What the engine that runs the machine has done, and how fast; it shows in no result.</summary>
    public EngineCounters Engine => Powered.Machine.EngineCounters;

    /// <summary>Instructions, REP iterations and deliveries since power-on.</summary>
    public ulong Retired => Powered.Machine.Retired;

    /// <summary>Running, or why it runs no more.</summary>
    public MachineStatus Status => Powered.Status;

    public bool IsPaused => _pausedAt is not null;

    /// <summary>Lab time that the machine has reached; a stopped machine stays where it stopped.</summary>
    public TimeSpan Now => Lab.Time(Powered.Now);

    /// <summary>Hash of all that the guest could ever see.</summary>
    public ulong StateHash => Powered.Machine.StateHash();

    internal int Index { get; }

    internal MachineFaults Faults { get; }

    internal MachinePorts Ports { get; }

    internal PoweredMachine Powered => _powered ?? throw new LabException($"{Name} belongs to a lab that is closed.");

    internal CommandChannel Channel => _channel ?? throw new LabException(
        $"{Name}'s guest serves no command channel, as Guest.Debian does: talk to its Console instead.");

    /// <summary>gdb holds the machine, or is waited for: it stands still in its quantum.</summary>
    internal bool IsHeldByGdb => _gdb is { IsStopped: true };

    /// <summary>gdb asked for the end of the lab.</summary>
    internal bool IsKilledByGdb => _gdb is { IsKilled: true };

    internal bool IsRunning => HasPower && !IsPaused && !IsFrozen;

    internal bool HasPower => _powered is not null && Status == MachineStatus.Running;

    /// <summary>Runs a command by the guest's /bin/sh, and waits for its end; several may run at once.</summary>
    /// <param name="within">Limit in guest time, at which the command is killed; the lab's own where it is
    /// <see langword="null"/>.</param>
    /// <exception cref="MachineStoppedException">The machine triple-faulted or got stuck.</exception>
    public Task<ShellResult> Shell(string command, TimeSpan? within = null, CancellationToken cancellation = default)
    {
        Lab.RequireOpen();
        ChannelTask task = Channel.Run(command);
        Lab.Add(this, $"runs `{Brief(command)}`", EventKind.CommandBegun, task.Id);
        return End(task, command, within, cancellation);
    }

    /// <summary>Waits for the end of a command that was under way at the moment that the lab was restored to, or grew from.</summary>
    /// <param name="command">The command, as Shell was given it.</param>
    /// <exception cref="LabException">No such command is under way.</exception>
    public Task<ShellResult> Resume(string command, TimeSpan? within = null, CancellationToken cancellation = default)
    {
        Lab.RequireOpen();
        ChannelTask[] commands = [.. Channel.Commands];
        ChannelTask task = Array.Find(commands, task => task.Command == command) ?? throw new LabException(
            $"{Name} runs no `{Brief(command)}`; under way: "
            + (commands.Length == 0 ? "nothing." : string.Join(", ", commands.Select(task => $"`{Brief(task.Command!)}`")) + "."));
        return End(task, command, within, cancellation);
    }

    Task<ShellResult> End(ChannelTask task, string command, TimeSpan? within, CancellationToken cancellation)
    {
        Wait<ShellResult> wait = Lab.WaitFor<ShellResult>($"{Name} did not end `{command}`", within, this, needsKernel: true,
            (out ShellResult result) =>
            {
                result = null!;
                if (!task.IsDone) return false;
                result = Result(command, task, task.HasLostPower ? ShellOutcome.PowerLost : ShellOutcome.Exited);
                return true;
            });
        Func<ShellResult> fail = wait.OnHopeless;
        wait.OnLimit = () => Abandoned(command, task, ShellOutcome.TimedOut);
        wait.OnHopeless = () => Status switch
        {
            MachineStatus.PoweredOff => Abandoned(command, task, ShellOutcome.PowerLost),
            MachineStatus.Running => Abandoned(command, task, ShellOutcome.Panicked),
            _ => fail(),
        };
        return Lab.Await(wait, cancellation);
    }

    /// <summary>Waits until the machine stops by itself, and says how.</summary>
    /// <param name="within">Limit in guest time; the lab's own where it is <see langword="null"/>.</param>
    public Task<MachineStatus> Stopped(TimeSpan? within = null, CancellationToken cancellation = default) => Lab.Await(
        Lab.WaitFor<MachineStatus>($"{Name} did not stop", within, null, needsKernel: false,
            (out MachineStatus status) => (status = Status) != MachineStatus.Running),
        cancellation);

    /// <summary>
    /// Serves gdb at a port of 127.0.0.1 for as long as the lab is open; see <see cref="GdbServer"/>. What gdb changes is noted in
    /// the timeline; what it only looks at leaves the run as it is.
    /// </summary>
    /// <param name="port">0 takes any that is free.</param>
    /// <param name="waits">The machine does not run on before gdb has come.</param>
    /// <exception cref="LabException">The port is taken, or the machine has a server already.</exception>
    public GdbServer Gdb(int port = 0, bool waits = false)
    {
        Lab.RequireOpen();
        if (_gdb is not null) throw new LabException($"{Name} is served to gdb already, at port {_gdb.Port}.");
        _gdb = new GdbServer(port, waits, what => _debugged.Add((Powered.Now, what)), () => Linux.FindSymbols()?.Base);
        Powered.Machine.Serve(_gdb);
        return _gdb;
    }

    /// <summary>What a disk of the machine holds at this instant, looked at from outside.</summary>
    /// <exception cref="LabException">The machine has no disk of that name.</exception>
    public VmDisk Disk(string name)
    {
        Lab.RequireOpen();
        Spec.RequireDisk(name);
        return new VmDisk(this, name);
    }

    /// <summary>Stops the machine at once, as if its plug were pulled.</summary>
    public void PowerOff()
    {
        Lab.RequireOpen();
        if (Status != MachineStatus.Running) return;
        Powered.Machine.PowerOff();
        NoteStop();
    }

    /// <summary>Pulls the plug, puts it back, and waits until the guest is up again.</summary>
    public Task PowerCycle(TimeSpan? within = null, CancellationToken cancellation = default)
    {
        PowerOff();
        PowerOn();
        return Boot(within, cancellation);
    }

    /// <summary>Presses the reset button: memory is lost, and the guest starts anew.</summary>
    public void Reset()
    {
        Lab.RequireOpen();
        Lab.Add(this, "reset", EventKind.Stopped);
        PowerOn();
    }

    /// <summary>Stops the machine and its clock between two instructions.</summary>
    public void Pause()
    {
        Lab.RequireOpen();
        if (IsPaused || Status != MachineStatus.Running) return;
        _pausedAt = _frozenAt ?? Lab.Nanoseconds;
        Lab.Add(this, "paused", EventKind.Paused);
    }

    /// <summary>Goes on where <see cref="Pause"/> stopped: for the guest, no time has passed.</summary>
    public void Continue()
    {
        Lab.RequireOpen();
        if (_pausedAt is not { } pausedAt) return;
        Powered.Delay(Lab.Nanoseconds - pausedAt);
        Ports.HoldUntil(Lab.Nanoseconds);
        _pausedAt = null;
        if (IsFrozen) _frozenAt = Lab.Nanoseconds;
        Lab.Add(this, "continued", EventKind.Continued);
    }

    public override string ToString() => $"{Name} ({(IsPaused ? "paused" : Status)})";

    /// <summary>Powers a stopped machine on; a running one starts anew.</summary>
    public void PowerOn()
    {
        Lab.RequireOpen();
        // Disks outlive the power: the machine to be has what the one before left.
        ImmutableArray<DeviceSpec> devices = _powered?.Machine.Devices ?? Spec.Devices;
        _powered?.Dispose();
        _channel?.LosePower();
        _pausedAt = _frozenAt = null;
        HasPanicked = IsLost = false;
        _crashes.Forget();
        Faults.PowerOn(Lab.Nanoseconds);
        IMachine machine = _build(ConfigOf(_powerOns) with { Devices = devices }, Lab.Pool, null);
        _powered = new PoweredMachine(Name, machine, Lab.Nanoseconds, Faults, Ports, Lab.KeepsHashes);
        Ports.PowerOn(machine, Lab.Nanoseconds);
        if (_gdb is not null) machine.Serve(_gdb);
        foreach (IHook hook in _hooks) hook.Arm(_powered.Machine.Pc);
        _powerOns++;
        _lastStatus = MachineStatus.Running;
        Lab.Add(this, "powered on", EventKind.PoweredOn);
        Lab.ForgetPlaces(this);
    }

    /// <summary>A hook stopped the machine in the quantum, short of its end.</summary>
    internal bool IsHeld => IsRunning && Powered.Machine.IsHeld;

    /// <summary>Where the machine stops for faults.</summary>
    internal PlaceHooks Places { get; } = new();

    internal void Add(IHook hook)
    {
        Lab.RequireOpen();
        hook.Arm(Powered.Machine.Pc);
        _hooks.Add(hook);
    }

    internal void Remove(IHook hook) => _hooks.Remove(hook);

    /// <summary>Calls, while the machine is held, what its hooks are to call.</summary>
    internal void SettleHooks()
    {
        foreach (IHook hook in _hooks.ToArray()) hook.Settle();
    }

    /// <summary>Takes a moment, between two quanta.</summary>
    internal VmMoment Snapshot()
    {
        if (_frozenAt is not null) Ports.HoldUntil(Lab.Nanoseconds);
        return new(
            Powered.Snapshot(IsPaused ? 0 : StoodStill), Faults.Snapshot(), _powerOns, _lastStatus, _pausedAt, HasPanicked, _crashes.Address,
            HostName, Console.Save(), _channel?.Save());
    }

    internal void Restore(VmMoment moment)
    {
        Powered.Restore(moment.Powered);
        Take(moment);
    }

    internal Task Boot(TimeSpan? within, CancellationToken cancellation)
    {
        Readiness readiness = Spec.Guest!.Readiness;
        if (readiness.HasChannel)
            return Lab.Await(Lab.WaitFor<bool>($"{Name} did not come up", within, this, needsKernel: true,
                (out bool isReady) => isReady = Channel.IsReady), cancellation);
        return readiness.ConsoleText is { } text ? ExpectReady(text, within, cancellation) : Task.CompletedTask;
    }

    async Task ExpectReady(string text, TimeSpan? within, CancellationToken cancellation)
    {
        await Console.Expect(text, within, cancellation);
        Linux.FindSymbols();
    }

    /// <summary>Takes in, at a quantum's end, what the machine sent.</summary>
    internal void Deliver()
    {
        foreach (Arrival arrival in Powered.Arrivals)
        {
            if (arrival.IsChannel) DeliverToChannel(arrival);
            else DeliverToConsole(arrival);
        }
        Powered.Arrivals.Clear();
        // Faults of this machine have looked when it happened; those of others see it at the quantum's end.
        foreach (Happening what in Powered.Happened)
        {
            foreach (Vm other in Lab.Machines)
                if (other != this) other.Faults.Look(what, Lab.Nanoseconds);
            foreach (Link link in Lab.Links) link.Faults.Look(what, Lab.Nanoseconds);
        }
        Powered.Happened.Clear();
        foreach (var (time, what) in _debugged) Lab.Add(this, time, what);
        _debugged.Clear();
        foreach (var (time, what) in Faults.Done) Lab.Add(this, time, $"fault: {what}", EventKind.Fault);
        Faults.Done.Clear();
    }

    /// <summary>Notes, at a quantum's end, that the machine has stopped; one that asked for a reset gets it.</summary>
    internal void SettleStatus()
    {
        if (Status == _lastStatus) return;
        NoteStop();
        if (Status == MachineStatus.Reset) PowerOn();
    }

    /// <summary>Ends gdb's connection, from whatever thread.</summary>
    internal void DropGdb() => _gdb?.Dispose();

    internal void Close()
    {
        _gdb?.End();
        _gdb?.Dispose();
        _powered?.Dispose();
        _powered = null;
    }

    /// <summary>From now on, what the lab draws for the machine follows from the lab's own seed.</summary>
    internal void Reseed()
    {
        Rng random = Rng.FromSeed(Lab.Seed);
        Faults.Reseed(random.Child("faults").Child(Name));
        Powered.Machine.ReseedDisks(random.Child("disks").Child(Name));
    }

    internal string WhyStopped => Status switch
    {
        MachineStatus.PoweredOff => "it is powered off",
        MachineStatus.Departed => $"it runs on {HostName}",
        MachineStatus.TripleFault => $"it stopped at a triple fault, RIP {Cpu.Rip:x16}",
        MachineStatus.Stuck => $"it is stuck: halted with interrupts off, and nothing can wake it, RIP {Cpu.Rip:x16}",
        _ when HasPanicked => "its kernel panicked",
        _ => "it stopped",
    };

    void Begin(VmMoment moment)
    {
        IMachine machine = _build(ConfigOf(moment.PowerOns - 1), Lab.Pool, moment.Powered.Machine);
        _powered = new PoweredMachine(Name, machine, startedAt: 0, Faults, Ports, Lab.KeepsHashes);
        _powered.Take(moment.Powered);
        Take(moment);
    }

    void Take(VmMoment moment)
    {
        (_powerOns, _lastStatus, _pausedAt, _frozenAt) = (moment.PowerOns, moment.LastStatus, moment.PausedAt, null);
        HostName = moment.Host;
        IsLost = false;
        HasPanicked = moment.HasPanicked;
        _crashes.Arm(moment.CrashHook);
        Faults.Restore(moment.Faults);
        foreach (ArmedFault armed in moment.Faults.Armed) armed.Fault.RequireTarget(this);
        Console.Restore(moment.Console);
        if (moment.Channel is { } channel) _channel!.Restore(channel);
    }

    /// <summary>The machine of one power-on, counted from 0: each has random streams of its own.</summary>
    MachineConfig ConfigOf(int powerOn)
    {
        string stream = powerOn == 0 ? Name : $"{Name}, power-on {powerOn + 1}";
        ulong seed = Rng.FromSeed(Lab.Seed).Child("machines").Child(stream).Next();
        return new MachineConfig(Name, Spec.MemorySize, _guest, seed)
        {
            Devices = Spec.Devices, Engine = Spec.Engine ?? Lab.Engine, Lockstep = Lab.Lockstep,
        };
    }

    void DeliverToConsole(Arrival arrival)
    {
        Lab.Record.Now[Index].Console.Add(arrival.Time, arrival.Value);
        if (Console.Receive(arrival.Value)) _crashes.Add(new KernelCrash(arrival.Time, IsPanic: true));
    }

    void DeliverToChannel(Arrival arrival)
    {
        if (_channel is null) return;   // the guest's own use of its second serial port
        bool wasReady = _channel.IsReady;
        ChannelTask? done = _channel.Receive(arrival.Value);
        if (!wasReady && _channel.IsReady)
        {
            Lab.Add(this, arrival.Time, "is up", EventKind.Up);
            Linux.FindSymbols();
        }
        if (done is { Command: { } command })
            Lab.Add(this, arrival.Time, $"`{Brief(command)}` ended: exit code {done.ExitCode}", EventKind.CommandEnded, done.Id);
    }

    // A line of the timeline is one line.
    static string Brief(string command)
    {
        const int Longest = 80;
        string line = command.ReplaceLineEndings(" ");
        return line.Length <= Longest ? line : line[..Longest] + "...";
    }

    ShellResult Abandoned(string command, ChannelTask task, ShellOutcome outcome)
    {
        Channel.Abandon(task);
        Lab.Add(this, $"`{Brief(command)}` was given up: {outcome}", EventKind.CommandEnded, task.Id);
        return Result(command, task, outcome);
    }

    ShellResult Result(string command, ChannelTask task, ShellOutcome outcome) =>
        task.IsDone && task.Failure is { } failure
            ? throw new GuestException($"{Name} could not run `{command}`: {failure}.", Lab.ReportOf(this))
            : new(command, Encoding.UTF8.GetString(task.Output), Encoding.UTF8.GetString(task.Error), task.ExitCode, outcome);

    void NoteStop()
    {
        _lastStatus = Status;
        _gdb?.End();
        if (Status == MachineStatus.PoweredOff) _channel?.LosePower();
        Lab.Add(this, Powered.Now, Status switch
        {
            MachineStatus.PoweredOff => "powered off",
            MachineStatus.TripleFault => "triple fault",
            MachineStatus.Reset => "reset by the guest",
            MachineStatus.Departed => $"runs on {HostName}",
            MachineStatus.Stuck => "stuck: halted with interrupts off",
            var other => other.ToString(),
        }, EventKind.Stopped);
    }
}
