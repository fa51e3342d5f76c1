using VmLab.Core;

namespace VmLab.Machines;

/// <summary>A PC wired together: processor, memory, devices, clock.</summary>
public sealed class Machine : IDisposable
{
    public Machine(MachineConfig config, FramePool pool) => throw new NotSupportedException($"{config} {pool}");

    public MachineConfig Config => throw new NotSupportedException();

    /// <summary>Machine time since power-on, in nanoseconds.</summary>
    public ulong Now => throw new NotSupportedException();

    public MachineStatus Status => throw new NotSupportedException();

    /// <summary>The first serial port: the guest's console.</summary>
    public SerialEndpoint Console => throw new NotSupportedException();

    /// <summary>The second serial port: the lab's command channel.</summary>
    public SerialEndpoint Channel => throw new NotSupportedException();

    /// <summary>How often the monitor handled what, by reason.</summary>
    public ExitCounters Exits => throw new NotSupportedException();

    public MemoryBus Memory => throw new NotSupportedException();

    /// <summary>Instructions retired, REP iterations and deliveries: see the contract on counts.</summary>
    public ulong Retired => throw new NotSupportedException();

    /// <summary>Runs to this machine time exactly, or until the status is no longer Running.</summary>
    public void RunUntil(ulong time) => throw new NotSupportedException($"{time}");

    public void PowerOff() => throw new NotSupportedException();

    /// <summary>Hash of all that the guest could ever see: processor, RAM, devices, random streams.</summary>
    public ulong StateHash() => throw new NotSupportedException();

    public void Dispose() => throw new NotSupportedException();
}
