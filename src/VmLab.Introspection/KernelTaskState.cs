using System.Numerics;

namespace VmLab.Introspection;

/// <summary>What a task is doing, by the letters of ps.</summary>
public enum KernelTaskState
{
    /// <summary>R: it runs, or would if it had a processor.</summary>
    Running,

    /// <summary>S: it waits, and a signal wakes it.</summary>
    Sleeping,

    /// <summary>D: it waits, and no signal wakes it.</summary>
    Uninterruptible,

    /// <summary>T: a signal stopped it.</summary>
    Stopped,

    /// <summary>t: a debugger stopped it.</summary>
    Traced,

    /// <summary>X: it is gone but for this entry.</summary>
    Dead,

    /// <summary>Z: it has ended, and its parent has not asked how.</summary>
    Zombie,

    /// <summary>P: a kernel thread that is put aside.</summary>
    Parked,

    /// <summary>I: a kernel thread that waits for work.</summary>
    Idle,
}

/// <summary>The kernel's state words, as /proc reports them.</summary>
/// <remarks>Source: Linux 6.1, include/linux/sched.h, "__task_state_index"; fs/proc/array.c, "task_state_array".</remarks>
public static class KernelTaskStates
{
    const uint Uninterruptible = 2, Reported = 0x7F, NoLoad = 0x400, RealTimeLockWait = 0x1000, Frozen = 0x8000;

    extension(KernelTaskState state)
    {
        /// <summary>The letter that ps shows.</summary>
        public char Letter => "RSDTtXZPI"[(int)state];
    }

    internal static KernelTaskState Of(uint state, uint exitState)
    {
        if (state == (Uninterruptible | NoLoad)) return KernelTaskState.Idle;
        if ((state & (RealTimeLockWait | Frozen)) != 0) return KernelTaskState.Uninterruptible;
        return (KernelTaskState)(32 - BitOperations.LeadingZeroCount((state | exitState) & Reported));
    }
}
