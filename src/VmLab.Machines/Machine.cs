using System.Collections.Immutable;
using System.Globalization;
using VmLab.Core;
using VmLab.Devices;
using VmLab.Devices.Storage;
using VmLab.Devices.Virtio;
using VmLab.Guests;
using VmLab.X86;

namespace VmLab.Machines;

/// <summary>A PC wired together: processor, memory, devices, clock, and the loop that runs them.</summary>
/// <remarks>
/// What the machine does is a function of its configuration and of the bytes sent to it at given times. It is used by
/// one thread at
/// a time.
/// </remarks>
public sealed class Machine : IDisposable
{
    readonly GuestMemory _ram;
    readonly VirtualClock _clock = new();
    readonly Pc _pc;
    readonly Vcpu _cpu;
    readonly HostTime _hostTime = new();
    bool _isInterrupted;

    /// <summary>
    /// Builds the machine and loads its guest; the next <see cref="RunUntil"/> executes its first instruction.
    /// </summary>
    /// <exception cref="LabException">The guest is damaged, or does not fit; a disk's image cannot be opened.</exception>
    public Machine(MachineConfig config, FramePool pool) : this(config, pool, RandomOf(config)) =>
        Start(config.Guest.Load(_ram, new BootContext(config.Name, PcLayout.Hardware, RandomOf(config).Child("boot"))));

    /// <summary>Builds the machine as it was at a moment of one of this configuration and pool.</summary>
    /// <exception cref="LabException">No machine can be so.</exception>
    public Machine(MachineConfig config, FramePool pool, MachineMoment moment) : this(config, pool, RandomOf(config))
    {
        try
        {
            Restore(moment);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    Machine(MachineConfig config, FramePool pool, Rng random)
    {
        Config = config;
        _ram = new GuestMemory(pool, config.Memory);
        Memory = new MemoryBus(_ram);
        Console = new SerialEndpoint(FeedSerial);
        Channel = new SerialEndpoint(FeedSerial);
        _pc = new Pc(Memory, _clock, new PcOutlets(
            value => Console.Received?.Invoke(value), value => Channel.Received?.Invoke(value),
            PowerOff, Reset: () => Stop(MachineStatus.Reset)), config.Devices, random.Child("devices"));
        _pc.Console.RoomAppeared = FeedSerial;
        _pc.Channel.RoomAppeared = FeedSerial;
        _cpu = new Vcpu(
            new VcpuBoard(Memory, _pc.Ports, _pc.Msrs, _pc.LocalApic, _clock, Exits), random.Child("rdrand"));
        if (config.Engine == Engine.Translator && !Vcpu.CanTranslate)
            throw new LabException($"{config.Name}: the translator needs Linux on x86-64; with the engine auto it would be interpreted here.");
        if (config.Engine != Engine.Interpreter) _cpu.UseTranslator();
        Hooks = new MachineHooks(_cpu);
        StuckBits = new StuckBits(_ram, Hooks);
        _pc.Keep(StuckBits);
        _pc.LocalApic.NmiRaised = _cpu.RaiseNmi;
    }

    public MachineConfig Config { get; }

    /// <summary>Machine time since power-on, in nanoseconds.</summary>
    public ulong Now => _clock.Now;

    public MachineStatus Status { get; private set; } = MachineStatus.Running;

    /// <summary>The first serial port: the guest's console.</summary>
    public SerialEndpoint Console { get; }

    /// <summary>The second serial port: the lab's command channel.</summary>
    public SerialEndpoint Channel { get; }

    /// <summary>How often the monitor handled what, by reason.</summary>
    public ExitCounters Exits { get; } = new();

    /// <summary>What the engine has done, and how fast.</summary>
    public EngineCounters EngineCounters => _cpu.EngineCounters with { HostTime = _hostTime.Elapsed };

    public MemoryBus Memory { get; }

    /// <summary>The processor, for whoever looks into it between runs.</summary>
    public Vcpu Cpu => _cpu;

    /// <summary>What the processor's linear addresses lead to at this instant.</summary>
    public unsafe LinearMemory LinearMemory => new(_ram, _cpu.State->Cr0, _cpu.State->Cr3, _cpu.State->Cr4, _cpu.State->Efer);

    /// <summary>Counts: instructions retired, REP iterations, exceptions and interrupts delivered.</summary>
    public ulong Retired => _cpu.Retired;

    /// <summary>Breakpoints, watches, steps and traces, from outside the guest.</summary>
    public MachineHooks Hooks { get; }

    /// <summary>
    /// Runs to this machine time exactly, or until the status is no longer Running, or until a hook holds the machine.
    /// </summary>
    public void RunUntil(ulong time)
    {
        _hostTime.Start();
        Hooks.Release();
        _isInterrupted = false;
        while (Status == MachineStatus.Running && _clock.Now < time && !Hooks.IsHeld && !_isInterrupted)
        {
            Advance();
            ulong stop = Math.Min(time, _pc.NextDeadline);
            if (stop <= _clock.Now) continue;
            if (IsStalled || IsThrottled)
            {
                _clock.Now = stop;
                continue;
            }
            switch (Hooks.Run(stop - _clock.Now))
            {
                case StopReason.Halted: Idle(time); break;
                case StopReason.Shutdown: Stop(MachineStatus.TripleFault); break;
            }
        }
        Advance();
        _hostTime.Stop();
    }

    /// <summary>Machine time before which nothing happens in the machine unless something comes from outside; <see cref="Now"/> where
    /// it is not asleep.</summary>
    public ulong AsleepUntil => _cpu.IsAsleep ? Math.Max(_pc.NextDeadline, Now) : Now;

    /// <summary>Ends the present <see cref="RunUntil"/> behind the instruction that called the device that calls this.</summary>
    public void Interrupt() => _isInterrupted = true;

    /// <summary>The last <see cref="RunUntil"/> was ended by <see cref="Interrupt"/>.</summary>
    internal bool IsInterrupted => _isInterrupted;

    /// <summary>The processor executes nothing, while clock and devices go on.</summary>
    public bool IsStalled { get; set; }

    /// <summary>As <see cref="IsStalled"/>, while a migration keeps the processor from the machine; it is in no moment.</summary>
    public bool IsThrottled { get; set; }

    /// <summary>Moves the clock ahead, in nanoseconds, as if so much time had gone by at once.</summary>
    public void JumpAhead(ulong nanoseconds) => _clock.Now += nanoseconds;

    /// <summary>The devices that the configuration adds, in its order.</summary>
    public IReadOnlyList<VirtioDevice> Virtio => _pc.Virtio;

    /// <summary>Bits of RAM that keep their value.</summary>
    public StuckBits StuckBits { get; }

    /// <summary>The next interrupts of the processor's own timer get lost.</summary>
    public void LoseTicks(ulong count) => _pc.TickLoss.Lose(count);

    /// <summary>The processor's hardware fails: the guest is told, or the machine shuts down where it cannot be.</summary>
    /// <param name="bank">0 to 3: which registers tell.</param>
    /// <param name="address">Where, in physical memory, if that is known.</param>
    /// <returns>Whether the guest is told.</returns>
    public bool MachineCheck(int bank, ulong? address)
    {
        if (_pc.MachineChecks.TryNote(bank, address) && _cpu.TryRaiseMachineCheck()) return true;
        Stop(MachineStatus.TripleFault);
        return false;
    }

    /// <summary>The processor's hardware fails and mends itself: a guest that looks into the bank finds it there.</summary>
    /// <inheritdoc cref="MachineCheck"/>
    public void NoteCorrectedError(int bank, ulong? address) => _pc.MachineChecks.NoteCorrected(bank, address);

    /// <summary>One of the devices that the configuration adds: a disk by its name, others as nic0, entropy0, console0, balloon0.</summary>
    /// <exception cref="LabException">There is no such device.</exception>
    public VirtioDevice Device(string name) => _pc.Virtio[DeviceNames.IndexOf(Config.Devices, name, Config.Name)];

    /// <summary>What lies behind a disk, for whoever looks at it between runs.</summary>
    /// <exception cref="LabException">There is no disk of that name.</exception>
    public DiskDrive Drive(string name) => FaultyDrive(name).Drive;

    /// <summary>A disk, and what is wrong with it.</summary>
    /// <exception cref="LabException">There is no disk of that name.</exception>
    public FaultyDrive FaultyDrive(string name) => _pc.Devices.DriveOf(name);

    /// <summary>Calls, on the machine's thread, for each request to a disk before it is done, and for what faults do to one.</summary>
    public void ObserveDisks(Action<string, DiskRequest> requested, Action<string, string> affected) =>
        (_pc.Devices.Requested, _pc.Devices.Affected) = (requested, affected);

    /// <summary>The machine's devices as they are to be at its next power-on: disks hold what they hold now.</summary>
    public ImmutableArray<DeviceSpec> Devices => _pc.Devices.Describe(Config.Devices);

    /// <summary>Takes the power away, as the guest does too: of what a disk was to write, some is lost.</summary>
    public void PowerOff()
    {
        if (Status != MachineStatus.Running) return;
        Stop(MachineStatus.PoweredOff);
        _pc.Devices.LosePower(RandomOf(Config).Child("power loss").Child(Now.ToString(CultureInfo.InvariantCulture)));
    }

    /// <summary>Presses the reset button.</summary>
    public void Reset() => Stop(MachineStatus.Reset);

    /// <summary>It runs in another process from now on, and not here.</summary>
    public void Depart() => Stop(MachineStatus.Departed);

    /// <summary>Hash of all that the guest could ever see: processor, RAM, devices, random streams.</summary>
    public ulong StateHash() => Hash(withMemory: true);

    /// <summary>As <see cref="StateHash"/>, of all but RAM.</summary>
    internal ulong ChipHash() => Hash(withMemory: false);

    ulong Hash(bool withMemory)
    {
        var hash = new StateHash().Add(_clock.Now).Add((ulong)Status);
        _cpu.AddTo(hash);
        if (withMemory) hash.Add(_ram.Hash());
        _pc.AddTo(hash);
        _pc.Devices.AddTo(hash);
        return hash.Value;
    }

    /// <summary>Takes a moment of the machine, between two instructions.</summary>
    /// <remarks>Costs microseconds and the records of the chips; memory only for what the machine goes on to change.</remarks>
    public MachineMoment Snapshot() => new(_ram.Snapshot(), new MachineState(
        _clock.Now, Status, IsStalled, _cpu.Save(), Exits.Save(), Console.Save(), Channel.Save()), _pc.Save(), _pc.Devices.Save());

    /// <summary>Makes the machine what it was at a moment of it, or of a machine of the same configuration.</summary>
    public void Restore(MachineMoment moment)
    {
        _ram.Restore(moment.Memory);
        MachineState state = moment.State;
        _clock.Now = state.Now;
        Status = state.Status;
        IsStalled = state.IsStalled;
        _pc.Restore(moment.Devices);
        _pc.Devices.Restore(moment.Disks);
        _cpu.Restore(state.Cpu);
        Hooks.Reset();
        Exits.Restore(state.Exits);
        Console.Restore(state.Console);
        Channel.Restore(state.Channel);
    }

    public void Dispose()
    {
        _pc.Devices.Dispose();
        _cpu.Dispose();
        _ram.Dispose();
    }

    static Rng RandomOf(MachineConfig config) => Rng.FromSeed(config.Seed).Child(config.Name);

    void Advance()
    {
        if (_pc.Advance()) StuckBits.Enforce();
    }

    /// <summary>A halted machine jumps to the next deadline; with interrupts off and none coming it is stuck.</summary>
    void Idle(ulong time)
    {
        ulong next = Math.Min(time, _pc.NextDeadline);
        if (!_cpu.CanWake) Stop(MachineStatus.Stuck);
        else if (next > _clock.Now) _clock.Now = next;
    }

    void Stop(MachineStatus status)
    {
        if (Status == MachineStatus.Running) Status = status;
    }

    void Start(BootEntry entry)
    {
        _cpu.Start(entry.Mode == BootMode.Long64, entry.Rip, entry.Cr3, entry.GdtBase, entry.GdtLimit, entry.CodeSelector, entry.DataSelector);
        _cpu.SetRegister(Gpr.Rsp, entry.Rsp);
        _cpu.SetRegister(Gpr.Rsi, entry.Rsi);
        _cpu.SetRegister(Gpr.Rbx, entry.Rbx);
    }

    /// <summary>Moves waiting bytes into the UARTs as far as there is room.</summary>
    void FeedSerial()
    {
        Feed(_pc.Console, Console);
        Feed(_pc.Channel, Channel);
    }

    static void Feed(Uart16550 uart, SerialEndpoint cable)
    {
        while (uart.HasRoom && cable.TryTake(out byte value)) uart.Receive(value);
    }
}
