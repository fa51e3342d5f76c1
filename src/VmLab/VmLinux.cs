using VmLab.Introspection;

namespace VmLab;

/// <summary>A guest's Linux kernel, looked into from outside: the guest cannot tell.</summary>
public sealed class VmLinux
{
    readonly Vm _vm;
    KernelSymbols? _symbols;

    internal VmLinux(Vm vm) => _vm = vm;

    /// <summary>
    /// The names of the kernel and of its modules at this instant: a value, which later loads of modules do not change.
    /// </summary>
    /// <exception cref="LabException">The machine's memory holds no Linux kernel with symbol tables.</exception>
    public KernelSymbols Symbols => FindSymbols() ?? throw new LabException(
        $"{_vm.Name} has no symbols at {_vm.Now.TotalSeconds:0.000000} s: no kallsyms tables of a Linux kernel are in its memory. "
        + "Its guest is no Linux, or is not unpacked yet, or was built without CONFIG_KALLSYMS.");

    internal KernelSymbols? FindSymbols() => _symbols = _vm.Powered.Machine.ReadSymbols(_symbols);

    /// <summary>The linear address of a symbol of the kernel or of a loaded module.</summary>
    /// <exception cref="LabException">There is no such symbol, or there are no symbols.</exception>
    public ulong Symbol(string name) => Symbols.TryFind(name, out ulong address)
        ? address
        : throw new LabException(
            $"{_vm.Name}'s kernel has no symbol \"{name}\", nor has a module that is loaded at {_vm.Now.TotalSeconds:0.000000} s; "
            + "`cat /proc/kallsyms` in the guest lists what there is.");
}
