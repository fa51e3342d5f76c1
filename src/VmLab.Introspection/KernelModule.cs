namespace VmLab.Introspection;

/// <summary>A loaded module of a guest's kernel, as /proc/modules lists it.</summary>
public sealed class KernelModule
{
    readonly Lazy<KernelSymbol[]> _sorted;

    internal KernelModule(
        string name, KernelModuleState state, IReadOnlyList<(ulong Start, ulong Length)> parts, IReadOnlyList<KernelSymbol> symbols)
    {
        (Name, State, Parts, Symbols) = (name, state, parts, symbols);
        _sorted = new(() => [.. symbols.OrderBy(symbol => symbol.Address)]);
    }

    public string Name { get; }

    public KernelModuleState State { get; }

    /// <summary>Linear address of its code; 0 where the kernel tells none.</summary>
    public ulong Base => Parts.Count > 0 ? Parts[0].Start : 0;

    /// <summary>Code and data, in bytes.</summary>
    public ulong Size => Parts.Aggregate(0UL, (size, part) => size + part.Length);

    /// <summary>Where its code and data lie: first byte and length.</summary>
    public IReadOnlyList<(ulong Start, ulong Length)> Parts { get; }

    /// <summary>In the order of the module's own table.</summary>
    public IReadOnlyList<KernelSymbol> Symbols { get; }

    /// <summary>In the order of addresses.</summary>
    internal KernelSymbol[] Sorted => _sorted.Value;

    public override string ToString() => $"{Name} {Size} {State} 0x{Base:x16}";
}

/// <summary>Where a module is on its way in and out.</summary>
/// <remarks>Source: Linux 6.1, include/linux/module.h, "enum module_state".</remarks>
public enum KernelModuleState
{
    Live,

    /// <summary>Its initialisation runs.</summary>
    Loading,

    /// <summary>Its exit runs.</summary>
    Unloading,
}
