using System.Globalization;

namespace VmLab.Introspection;

/// <summary>A task of a guest's kernel: a thread of a process, or of the kernel's own.</summary>
/// <param name="Pid">The task's own number, which Linux shows as a thread's.</param>
/// <param name="ThreadGroup">The number of the process: the pid of its first thread.</param>
/// <param name="Name">Up to 15 bytes, as ps shows it between brackets.</param>
/// <param name="Parent">The number of the parent process; 0 for the first two.</param>
/// <param name="Flags">The kernel's PF_ flags.</param>
/// <param name="Tables">
/// Physical address of the top page table of its process; <see langword="null"/> for one that has no memory of its own.
/// </param>
public sealed record KernelTask(
    int Pid, int ThreadGroup, string Name, KernelTaskState State, int Parent, uint Flags, ulong? Tables)
{
    const uint KernelThread = 0x20_0000;

    /// <summary>It is the kernel's own, and never runs a program.</summary>
    public bool IsKernelThread => (Flags & KernelThread) != 0;

    /// <summary>It is the first thread of its process.</summary>
    public bool IsProcess => Pid == ThreadGroup;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Pid} {Name} ({State}, child of {Parent})");

    /// <summary>Every task of a kernel, process by process from the oldest, each with its threads behind it.</summary>
    /// <remarks>
    /// The idle task, number 0, is left out, as in /proc; a damaged list ends where it leads nowhere or back into itself. Numbers
    /// are those of the first pid namespace.
    /// Source: Linux 6.1, include/linux/sched.h, "struct task_struct"; include/linux/sched/signal.h, "for_each_process_thread".
    /// </remarks>
    internal static List<KernelTask> ReadAll(LinuxKernel kernel)
    {
        const int MostTasks = 1 << 17;
        BtfMember tasks = kernel.Member("task_struct", "tasks"), signal = kernel.Member("task_struct", "signal");
        BtfMember threads = kernel.Member("signal_struct", "thread_head"), thread = kernel.Member("task_struct", "thread_node");
        var reader = new Reader(kernel);
        var found = new List<KernelTask>();
        int looked = 0;
        foreach (ulong process in kernel.List(kernel.Symbol("init_task") + (ulong)tasks.Offset, tasks))
        {
            if (!kernel.TryRead(process, signal, out ulong shared)) break;
            foreach (ulong task in kernel.List(shared + (ulong)threads.Offset, thread))
            {
                if (looked++ > MostTasks) return found;
                if (reader.TryRead(task) is { } read) found.Add(read);
            }
        }
        return found;
    }

    sealed class Reader(LinuxKernel kernel)
    {
        const int LongestName = 16;

        readonly BtfMember _pid = kernel.Member("task_struct", "pid"), _group = kernel.Member("task_struct", "tgid"),
            _name = kernel.Member("task_struct", "comm"), _state = kernel.Member("task_struct", "__state"),
            _exit = kernel.Member("task_struct", "exit_state"), _parent = kernel.Member("task_struct", "real_parent"),
            _flags = kernel.Member("task_struct", "flags"), _memory = kernel.Member("task_struct", "mm"),
            _tables = kernel.Member("mm_struct", "pgd");

        public KernelTask? TryRead(ulong task)
        {
            bool isRead = kernel.TryRead(task, _pid, out ulong pid) & kernel.TryRead(task, _group, out ulong group)
                & kernel.TryRead(task, _state, out ulong state) & kernel.TryRead(task, _exit, out ulong exit)
                & kernel.TryRead(task, _flags, out ulong flags) & kernel.TryRead(task, _memory, out ulong memory)
                & kernel.TryRead(task, _parent, out ulong parent) & kernel.TryRead(parent, _group, out ulong parentGroup);
            if (!isRead) return null;
            ulong? tables = memory != 0 && kernel.TryRead(memory, _tables, out ulong top) && kernel.Memory.TryTranslate(top, out ulong physical)
                ? physical
                : null;
            string name = kernel.ReadText(task + (ulong)_name.Offset, LongestName);
            return new KernelTask((int)pid, (int)group, name, KernelTaskStates.Of((uint)state, (uint)exit), (int)parentGroup, (uint)flags, tables);
        }
    }
}
