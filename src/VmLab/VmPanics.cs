using VmLab.Introspection;
using VmLab.Running;

namespace VmLab;

// What becomes of a panic or oops of the guest's kernel.
public sealed partial class Vm
{
    readonly CrashHook _crashes;

    /// <summary>The guest's kernel has panicked since power-on.</summary>
    public bool HasPanicked { get; private set; }

    /// <summary>
    /// Announces that the guest's kernel may panic or oops from now on, in this lab; without, either fails the lab at that instant
    /// with a <see cref="KernelPanicException"/>. A command then ends with <see cref="ShellOutcome.Panicked"/>.
    /// </summary>
    public void MayPanic()
    {
        Lab.RequireOpen();
        _crashes.IsAnnounced = true;
    }

    internal bool IsWatchedForPanics => _crashes.Address != 0;

    /// <summary>The guest's symbols are known.</summary>
    internal void WatchForPanics(KernelSymbols symbols) => _crashes.Arm(symbols);

    /// <summary>Notes the crashes since the last time.</summary>
    /// <returns>What the lab fails with, where one was not announced.</returns>
    internal KernelPanicException? SettleCrashes()
    {
        KernelPanicException? failure = null;
        foreach (KernelCrash crash in _crashes.Take())
        {
            if (crash.IsPanic && HasPanicked) continue;   // the console repeats it
            HasPanicked |= crash.IsPanic;
            Lab.Add(this, crash.Time, crash.IsPanic ? "kernel panic" : "kernel oops", EventKind.Failure);
            if (!_crashes.IsAnnounced) failure ??= new KernelPanicException(this, crash, TryReadLog());
        }
        return failure;
    }

    KernelLog? TryReadLog()
    {
        try
        {
            return Linux.KernelLog;
        }
        catch (LabException)   // a kernel without symbols or type information, or none
        {
            return null;
        }
    }
}
