using VmLab.Introspection;

namespace VmLab;

/// <summary>A guest's Linux kernel, looked into from outside: the guest cannot tell.</summary>
/// <remarks>
/// Each property is read anew, at this instant, by the kernel's own symbols and BTF type information in the machine's memory,
/// wherever KASLR has put them; what it returns is a value, which later changes of the guest leave as it is.
/// </remarks>
public sealed class VmLinux
{
    readonly Vm _vm;
    KernelSymbols? _symbols;

    internal VmLinux(Vm vm) => _vm = vm;

    /// <summary>The names of the kernel and of its modules.</summary>
    /// <exception cref="LabException">The machine's memory holds no Linux kernel with symbol tables.</exception>
    public KernelSymbols Symbols => FindSymbols() ?? throw new LabException(_vm.IsLost
        ? $"{_vm.Name} has no kernel to look into: it was lost by a migration, and some of its memory with it."
        : $"{_vm.Name} has no symbols at {_vm.Now.TotalSeconds:0.000000} s: no kallsyms tables of a Linux kernel are in its memory. "
        + "Its guest is no Linux, or is not unpacked yet, or was built without CONFIG_KALLSYMS.");

    /// <summary>The kernel's structures, for readers of your own.</summary>
    /// <exception cref="LabException">There are no symbols, or the kernel was built without type information.</exception>
    public LinuxKernel Kernel => new(Symbols, _vm.Powered.Machine.Pc.LinearMemory);

    /// <summary>What the kernel logged, to the last record that its buffer holds: after a panic, too, and without a console.</summary>
    /// <inheritdoc cref="Kernel"/>
    public KernelLog KernelLog => Kernel.Log;

    /// <summary>The threads of all processes, and the kernel's own.</summary>
    /// <inheritdoc cref="Kernel"/>
    public GuestTasks Tasks => new(_vm, Kernel.Tasks);

    /// <summary>The loaded modules, the youngest first, as /proc/modules lists them.</summary>
    /// <inheritdoc cref="Kernel"/>
    public IReadOnlyList<KernelModule> Modules => Kernel.Modules;

    /// <summary>
    /// The kernel has begun to panic since it was booted. While it is not up, and of a guest that is no Linux, the console tells; of a machine
    /// that a migration lost, what was known before.
    /// </summary>
    public bool Panicked => _vm.HasPanicked || !_vm.IsLost && IsFound && Kernel.HasPanicked;

    /// <summary>The kernel has oopsed since it was booted: an exception in its own code, or a BUG.</summary>
    /// <inheritdoc cref="Kernel"/>
    public bool Oopsed => Kernel.HasOopsed;

    /// <summary>A symbol of the kernel or of a loaded module: its address, and what lies there.</summary>
    /// <exception cref="LabException">There is no such symbol, or there are no symbols.</exception>
    public GuestSymbol Symbol(string name) => Symbols.TryFind(name, out ulong address)
        ? new GuestSymbol(name, address, new VmMemory(_vm, Space, "the kernel's address space"))
        : throw new LabException(
            $"{_vm.Name}'s kernel has no symbol \"{name}\", nor has a module that is loaded at {_vm.Now.TotalSeconds:0.000000} s; "
            + "`cat /proc/kallsyms` in the guest lists what there is.");

    /// <summary>Reads the symbols, if there are any; from then on, the kernel is watched for panics.</summary>
    internal KernelSymbols? FindSymbols()
    {
        _symbols = _vm.IsLost ? null : _vm.Powered.Machine.ReadSymbols(_symbols);
        if (_symbols is not null) _vm.WatchForPanics(_symbols);
        return _symbols;
    }

    // A condition that is asked in every quantum must not search all memory each time until there is a kernel.
    bool IsFound => _symbols is not null || _vm.IsWatchedForPanics;

    Machines.LinearMemory Space() => Symbols.Space(_vm.Powered.Machine.Pc.LinearMemory);
}
