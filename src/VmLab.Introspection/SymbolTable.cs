namespace VmLab.Introspection;

/// <summary>The symbols of a kernel, wherever it was put: the same for each machine that runs it.</summary>
/// <param name="names">In the order of addresses.</param>
/// <param name="types">As nm has them, one a name.</param>
/// <param name="offsets">As the kernel keeps them, one a name; see <see cref="AddressOf(int, ulong)"/>.</param>
sealed class SymbolTable(string[] names, char[] types, int[] offsets)
{
    readonly Dictionary<string, int> _byName = FirstOfEach(names);
    readonly bool _hasAbsolutes = HasAbsolutes(offsets);

    public int Count => names.Length;

    public string NameOf(int symbol) => names[symbol];

    public char TypeOf(int symbol) => types[symbol];

    public ulong AddressOf(int symbol, ulong linearBase) => AddressOf(offsets[symbol], _hasAbsolutes, linearBase);

    /// <summary>Of several symbols of a name the one at the lowest address.</summary>
    public bool TryFind(string name, out int symbol) => _byName.TryGetValue(name, out symbol);

    /// <summary>With CONFIG_KALLSYMS_ABSOLUTE_PERCPU what is relative to the base is negative, and the rest absolute.</summary>
    public static bool HasAbsolutes(ReadOnlySpan<int> offsets)
    {
        foreach (int offset in offsets)
            if (offset < 0) return true;
        return false;
    }

    public static ulong AddressOf(int offset, bool hasAbsolutes, ulong linearBase) =>
        !hasAbsolutes ? linearBase + (uint)offset
        : offset >= 0 ? (uint)offset
        : linearBase + (ulong)(-1L - offset);

    static Dictionary<string, int> FirstOfEach(string[] names)
    {
        var first = new Dictionary<string, int>(names.Length);
        for (int i = 0; i < names.Length; i++) first.TryAdd(names[i], i);
        return first;
    }
}
