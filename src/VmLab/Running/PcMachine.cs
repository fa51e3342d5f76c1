using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Devices.Virtio;
using VmLab.Introspection;
using VmLab.Machines;
using VmLab.Machines.Gdb;

namespace VmLab.Running;

/// <summary>The emulated PC, as the lab sees it.</summary>
sealed class PcMachine(Machine machine, Lockstep? lockstep = null) : IMachine
{
    GdbServer? _gdb;

    public ulong Now => machine.Now;
    public MachineStatus Status => machine.Status;
    public ulong Retired => machine.Retired;
    public ExitCounters Exits => machine.Exits;
    public EngineCounters EngineCounters => machine.EngineCounters;

    public Machine Pc => machine;
    public bool IsHeld => machine.Hooks.IsHeld;

    public ulong Rip => machine.Cpu.Rip;
    public ulong Rflags => machine.Cpu.RflagsValue;

    public static IMachine Build(MachineConfig config, FramePool pool, MachineMoment? moment)
    {
        Machine machine = moment is null ? new(config, pool) : new(config, pool, moment);
        return new PcMachine(machine, config.Lockstep is { } step ? Lockstep.WithInterpreter(machine, pool, step) : null);
    }

    public void Connect(Action<byte> console, Action<byte> channel)
    {
        machine.Console.Received = console;
        machine.Channel.Received = channel;
    }

    public void ObserveDisks(Action<string, DiskRequest> requested, Action<string, string> affected) =>
        machine.ObserveDisks(requested, affected);

    public void Plug(MacAddress card, Action<ReadOnlyMemory<byte>>? sent) => Card(card).Sent = sent;

    public void SetLink(MacAddress card, bool isUp) => Card(card).IsLinkUp = isUp;

    public void Receive(MacAddress card, ReadOnlySpan<byte> frame) => Card(card).Receive(frame);

    public void ReseedDisks(Rng random)
    {
        foreach (DiskSpec disk in machine.Config.Devices.OfType<DiskSpec>()) machine.FaultyDrive(disk.Name).Reseed(random.Child(disk.Name));
    }

    public void SendToConsole(ReadOnlySpan<byte> bytes) => machine.Console.Send(bytes);

    public void SendToChannel(ReadOnlySpan<byte> bytes) => machine.Channel.Send(bytes);

    public ulong Register(int number) => machine.Cpu.Register(number);

    // RAM only: to look at a device register from outside would change the device.
    public void ReadMemory(ulong physical, Span<byte> bytes) => machine.Memory.Ram.Read(physical, bytes);

    public void ShareMemory(EqualPages pages) => pages.Share(machine.Memory.Ram);

    public KernelSymbols? ReadSymbols(KernelSymbols? before) =>
        KernelSymbols.TryRead(machine.Memory.Ram, machine.LinearMemory, before);

    public void Serve(GdbServer gdb)
    {
        gdb.Attach(machine);
        _gdb = gdb;
    }

    // gdb may ask for a stop at any time.
    public ulong AsleepUntil => _gdb is null ? machine.AsleepUntil : machine.Now;

    public void RunUntil(ulong time)
    {
        if (_gdb is not null) _gdb.RunUntil(time);
        else if (lockstep is not null) lockstep.RunUntil(time);
        else machine.RunUntil(time);
    }

    public void PowerOff() => machine.PowerOff();

    public ImmutableArray<DeviceSpec> Devices => machine.Devices;

    public ulong StateHash() => machine.StateHash();

    public MachineMoment Snapshot() => machine.Snapshot();

    public void Restore(MachineMoment moment)
    {
        machine.Restore(moment);
        _gdb?.Rewind();
    }

    public void Dispose()
    {
        lockstep?.Dispose();
        machine.Dispose();
    }

    VirtioNet Card(MacAddress address) => machine.Virtio.OfType<VirtioNet>().First(card => card.Address == address);
}
