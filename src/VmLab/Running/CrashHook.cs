using VmLab.Introspection;

namespace VmLab.Running;

/// <summary>A panic or an oops of a guest's kernel.</summary>
/// <param name="Time">Lab time, in nanoseconds.</param>
readonly record struct KernelCrash(ulong Time, bool IsPanic);

/// <summary>Stands where a Linux guest's kernel ends its report of a panic or an oops: its log has all of it there.</summary>
/// <remarks>
/// It is one breakpoint, in the function that both come through to hand the log on; the run is that without it. Of a guest whose
/// symbols nobody has found, the console tells of a panic, at a quantum's end.
/// Source: Linux 6.1, kernel/panic.c, "panic", "oops_exit"; include/linux/kmsg_dump.h, "enum kmsg_dump_reason".
/// </remarks>
sealed class CrashHook(Vm vm)
{
    const ulong Panic = 1, Oops = 2;
    const int FirstArgument = 7;   // RDI: System V ABI, AMD64 supplement, "Parameter Passing"

    readonly List<KernelCrash> _crashes = [];
    IDisposable? _armed;

    /// <summary>Linear address of the kernel's function; 0 while that is unknown.</summary>
    public ulong Address { get; private set; }

    /// <summary>The script expects it: the machine need not be held there.</summary>
    public bool IsAnnounced { get; set; }

    public void Arm(KernelSymbols symbols)
    {
        // From Linux 6.12 on, the one is but an inline call of the other.
        if (symbols.TryFind("kmsg_dump_desc", out ulong address) || symbols.TryFind("kmsg_dump", out address)) Arm(address);
    }

    /// <param name="address">0 takes the hook away.</param>
    public void Arm(ulong address)
    {
        if (address == Address) return;
        _armed?.Dispose();
        Address = address;
        _armed = address == 0 ? null : vm.Powered.Machine.Pc.Hooks.BreakAt(address, Meet);
    }

    /// <summary>The machine, and its hooks with it, is another now.</summary>
    public void Forget() => (_armed, Address) = (null, 0);

    public void Add(KernelCrash crash) => _crashes.Add(crash);

    /// <summary>What happened since the last call.</summary>
    public KernelCrash[] Take()
    {
        KernelCrash[] taken = [.. _crashes];
        _crashes.Clear();
        return taken;
    }

    // On the machine's thread.
    bool Meet()
    {
        ulong reason = vm.Powered.Machine.Register(FirstArgument);
        if (reason is not (Panic or Oops)) return false;
        Add(new KernelCrash(vm.Powered.Now, IsPanic: reason == Panic));
        return !IsAnnounced;
    }
}
