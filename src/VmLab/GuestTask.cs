using VmLab.Introspection;

namespace VmLab;

/// <summary>A task of a guest at the instant that it was read: a thread of a process, or of the kernel's own.</summary>
public sealed class GuestTask
{
    readonly KernelTask _task;
    readonly Vm _vm;

    internal GuestTask(Vm vm, KernelTask task) => (_vm, _task) = (vm, task);

    /// <inheritdoc cref="KernelTask.Pid"/>
    public int Pid => _task.Pid;

    /// <inheritdoc cref="KernelTask.ThreadGroup"/>
    public int ThreadGroup => _task.ThreadGroup;

    /// <inheritdoc cref="KernelTask.Name"/>
    public string Name => _task.Name;

    public KernelTaskState State => _task.State;

    /// <inheritdoc cref="KernelTask.Parent"/>
    public int Parent => _task.Parent;

    /// <inheritdoc cref="KernelTask.Flags"/>
    public uint Flags => _task.Flags;

    /// <inheritdoc cref="KernelTask.IsKernelThread"/>
    public bool IsKernelThread => _task.IsKernelThread;

    /// <inheritdoc cref="KernelTask.IsProcess"/>
    public bool IsProcess => _task.IsProcess;

    /// <summary>
    /// RAM by the addresses of its program, as the page tables of its process have them when it is read; what is paged out, or
    /// not touched yet, is not mapped. Use it while the process lives: later its tables are another's.
    /// </summary>
    /// <exception cref="LabException">It has no memory of its own: it is the kernel's, or has ended.</exception>
    public VmMemory Memory => _task.Tables is { } tables
        ? new VmMemory(_vm, () => _vm.Powered.Machine.Pc.LinearMemory.WithTables(tables), $"the address space of {Name}, {Pid},")
        : throw new LabException(
            $"{_vm.Name}'s task {Name}, {Pid}, has no memory of its own: it is {(IsKernelThread ? "the kernel's" : "ending")}.");

    public override string ToString() => _task.ToString();
}
