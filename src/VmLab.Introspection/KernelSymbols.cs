using VmLab.Core;
using VmLab.Machines;

namespace VmLab.Introspection;

/// <summary>The symbols of a running Linux kernel and of its loaded modules, as its own tables in memory had them at an instant.</summary>
/// <remarks>
/// Nothing is asked of the guest and nothing outside it is needed: the tables are found by their structure, wherever the kernel was
/// put. Modules are read by the kernel's BTF type information; of a kernel without it only its own symbols are known. What BPF
/// programs, kprobes and ftrace add to /proc/kallsyms is left out.
/// </remarks>
public sealed class KernelSymbols : ISymbols
{
    /// <summary>
    /// Where x86-64 kernels are linked: CONFIG_PHYSICAL_START, 16 MiB in every distribution, above __START_KERNEL_map.
    /// </summary>
    public const ulong LinkedBase = 0xFFFF_FFFF_8100_0000;

    readonly KernelImage _image;
    readonly KernelModules? _list;
    readonly List<(ulong Address, uint State)> _listed;
    readonly KernelModule[] _modules;
    readonly Lazy<Dictionary<string, ulong>> _moduleNames;

    KernelSymbols(KernelImage image, KernelModules? list, LinearMemory linear)
    {
        _image = image;
        _list = list;
        _listed = list?.List(linear) ?? [];
        _modules = [.. _listed.Select(module => list!.Read(linear, module.Address))];
        _moduleNames = new(NamesOfModules);
    }

    /// <summary>All of them: the kernel's in the order of addresses, then module by module, as /proc/kallsyms lists them.</summary>
    public IEnumerable<KernelSymbol> All =>
        Enumerable.Range(0, _image.Kallsyms.Count).Select(symbol => _image.Kallsyms[symbol]).Concat(_modules.SelectMany(module => module.Symbols));

    /// <summary>The lowest address of the kernel's image.</summary>
    public ulong Base => _image.Kallsyms.Base;

    /// <summary>The highest address of the kernel's image that has a name.</summary>
    public ulong End => _image.Kallsyms.AddressOf(_image.Kallsyms.Count - 1);

    /// <summary>The loaded modules, the youngest first; none of a kernel without type information.</summary>
    public IReadOnlyList<KernelModule> Modules => _modules;

    /// <summary>Where the code and data of modules lie: name, first byte, length.</summary>
    internal IEnumerable<(string Module, ulong Start, ulong Length)> ModuleParts =>
        _modules.SelectMany(module => module.Parts.Select(part => (module.Name, part.Start, part.Length)));

    /// <summary>How far the kernel runs from where it was linked: 0 without KASLR.</summary>
    public ulong Slide => Base - LinkedBase;

    /// <summary>Reads the symbols of the kernel that runs, reusing what is still true of an earlier reading.</summary>
    /// <param name="linear">The address space of the processor, at any instant.</param>
    /// <param name="before">An earlier reading of this machine, or <see langword="null"/>.</param>
    /// <returns><see langword="null"/>: RAM holds no kernel with symbol tables.</returns>
    /// <remarks>Cost: about 100 ms for 128 MiB of RAM at first, microseconds when nothing has changed.</remarks>
    public static KernelSymbols? TryRead(GuestMemory ram, LinearMemory linear, KernelSymbols? before = null)
    {
        if (before is not null && before._image.IsStillIn(ram))
        {
            linear = before._image.Space(linear);
            KernelModules? list = before._list ?? before._image.Modules(linear);
            bool isSame = list == before._list && (list is null || list.List(linear).SequenceEqual(before._listed));
            return isSame ? before : new KernelSymbols(before._image, list, linear);
        }
        if (KernelImage.Find(ram, linear) is not { } image) return null;
        linear = image.Space(linear);
        return new KernelSymbols(image, image.Modules(linear), linear);
    }

    /// <summary>Of several symbols of a name, the kernel's own comes first, and the lowest of them.</summary>
    /// <inheritdoc/>
    public bool TryFind(string name, out ulong address) =>
        _image.Kallsyms.TryFind(name, out address) || _moduleNames.Value.TryGetValue(name, out address);

    /// <summary>Of several symbols at an address, the first one, as the kernel itself prints it.</summary>
    /// <inheritdoc/>
    public (string Name, ulong Offset)? At(ulong address)
    {
        Kallsyms kernel = _image.Kallsyms;
        if (address >= Base && address <= End) return Nearest(kernel.Count, symbol => kernel[symbol], address);
        KernelModule? module = Array.Find(_modules, module => module.Parts.Any(part => address - part.Start < part.Length));
        return module is null ? null : Nearest(module.Sorted.Length, symbol => module.Sorted[symbol], address);
    }

    /// <inheritdoc cref="KernelImage.Types"/>
    internal Btf? Types(LinearMemory linear) => _image.Types(linear);

    /// <inheritdoc cref="KernelImage.Space"/>
    public LinearMemory Space(LinearMemory linear) => _image.Space(linear);

    /// <param name="sorted">The symbols by number, in the order of addresses.</param>
    static (string Name, ulong Offset)? Nearest(int count, Func<int, KernelSymbol> sorted, ulong address)
    {
        int low = 0, high = count;   // the first one behind the address
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (sorted(middle).Address <= address) low = middle + 1;
            else high = middle;
        }
        if (low == 0) return null;
        ulong start = sorted(--low).Address;
        while (low > 0 && sorted(low - 1).Address == start) low--;
        return (sorted(low).Name, address - start);
    }

    Dictionary<string, ulong> NamesOfModules()
    {
        var names = new Dictionary<string, ulong>();
        foreach (KernelSymbol symbol in _modules.SelectMany(module => module.Symbols)) names.TryAdd(symbol.Name, symbol.Address);
        return names;
    }
}
