using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Introspection;
using VmLab.Machines;
using VmLab.Machines.Gdb;

namespace VmLab.Running;

/// <summary>Powers a machine on, or makes one as it was at a moment.</summary>
delegate IMachine MachineBuilder(MachineConfig config, FramePool pool, MachineMoment? moment);

/// <summary>What a lab needs of a machine: the emulated PC, or a scripted one in tests of the lab itself.</summary>
interface IMachine : IDisposable
{
    /// <summary>Machine time since power-on, in nanoseconds.</summary>
    ulong Now { get; }

    MachineStatus Status { get; }

    ulong Retired { get; }

    ExitCounters Exits { get; }

    EngineCounters EngineCounters { get; }

    /// <summary>
    /// Called with each byte the guest sends, at machine time <see cref="Now"/>, on the thread that runs the machine.
    /// </summary>
    void Connect(Action<byte> console, Action<byte> channel);

    /// <inheritdoc cref="Machine.ObserveDisks"/>
    void ObserveDisks(Action<string, DiskRequest> requested, Action<string, string> affected);

    /// <summary>Plugs a cable into a network card.</summary>
    /// <param name="sent">Called with each frame the guest sends, at machine time <see cref="Now"/>, on the thread that runs
    /// the machine; <see langword="null"/> unplugs the cable.</param>
    void Plug(MacAddress card, Action<ReadOnlyMemory<byte>>? sent);

    /// <summary>Says whether the cable of a network card leads somewhere.</summary>
    void SetLink(MacAddress card, bool isUp);

    /// <summary>A frame has arrived at a network card.</summary>
    void Receive(MacAddress card, ReadOnlySpan<byte> frame);

    /// <summary>From now on, what faults of its disks decide is drawn from here.</summary>
    void ReseedDisks(Rng random);

    void SendToConsole(ReadOnlySpan<byte> bytes);

    void SendToChannel(ReadOnlySpan<byte> bytes);

    /// <summary>The emulated PC, for those who look deeper into it.</summary>
    Machine Pc { get; }

    /// <summary>A hook stopped the last run short of its time.</summary>
    bool IsHeld { get; }

    ulong Rip { get; }

    ulong Rflags { get; }

    /// <param name="number">As the processor numbers its general registers, 0 to 15.</param>
    ulong Register(int number);

    void ReadMemory(ulong physical, Span<byte> bytes);

    /// <inheritdoc cref="EqualPages.Share"/>
    void ShareMemory(EqualPages pages);

    /// <summary>Lets gdb debug the machine from now on.</summary>
    void Serve(GdbServer gdb);

    /// <inheritdoc cref="KernelSymbols.TryRead"/>
    KernelSymbols? ReadSymbols(KernelSymbols? before);

    /// <inheritdoc cref="Machine.AsleepUntil"/>
    ulong AsleepUntil { get; }

    /// <inheritdoc cref="Machine.RunUntil"/>
    void RunUntil(ulong time);

    void PowerOff();

    /// <inheritdoc cref="Machine.Devices"/>
    ImmutableArray<DeviceSpec> Devices { get; }

    ulong StateHash();

    /// <inheritdoc cref="Machine.Snapshot"/>
    MachineMoment Snapshot();

    /// <inheritdoc cref="Machine.Restore"/>
    void Restore(MachineMoment moment);
}
