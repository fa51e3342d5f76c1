using System.Text;
using VmLab.Machines;
using static System.Buffers.Binary.BinaryPrimitives;

namespace VmLab.Introspection;

/// <summary>Reads the kernel's list of loaded modules, by the places that its own type information gives.</summary>
/// <remarks>
/// Source: Linux 6.1, include/linux/module.h, "struct module", "struct mod_kallsyms"; kernel/module/kallsyms.c,
/// "module_get_kallsym". From Linux 6.4 on a module's memory is an array of parts.
/// </remarks>
sealed class KernelModules
{
    const int MostModules = 4096, MostSymbols = 1 << 18, MostNames = 16 << 20, LongestName = 512, LongestModuleName = 56;
    const int SymbolSize = 24;
    const uint Unformed = 3;

    readonly ulong _head;
    readonly int _list, _state, _name, _kallsyms, _symbols, _symbolCount, _names, _types;
    readonly IReadOnlyList<(int Base, int Size)> _parts;

    KernelModules(Btf types, ulong head)
    {
        _head = head;
        _list = Place(types, "module", "list");
        _state = Place(types, "module", "state");
        _name = Place(types, "module", "name");
        _kallsyms = Place(types, "module", "kallsyms");
        _symbols = Place(types, "mod_kallsyms", "symtab");
        _symbolCount = Place(types, "mod_kallsyms", "num_symtab");
        _names = Place(types, "mod_kallsyms", "strtab");
        _types = Place(types, "mod_kallsyms", "typetab");
        _parts = [.. PartsOf(types)];
    }

    /// <param name="head">Linear address of the kernel's <c>modules</c>.</param>
    /// <returns><see langword="null"/>: the type information does not tell what a module is.</returns>
    public static KernelModules? TryCreate(Btf types, ulong head)
    {
        var modules = new KernelModules(types, head);
        int[] places =
        [
            modules._list, modules._state, modules._name, modules._kallsyms,
            modules._symbols, modules._symbolCount, modules._names, modules._types,
        ];
        return places.All(place => place >= 0) ? modules : null;
    }

    /// <summary>What changes when a module comes or goes.</summary>
    public List<(ulong Address, uint State)> List(LinearMemory memory)
    {
        var found = new List<(ulong, uint)>();
        ulong at = _head;
        while (found.Count < MostModules && memory.TryRead64(at, out at) && at != _head)
        {
            ulong module = at - (ulong)_list;
            if (!memory.TryRead32(module + (ulong)_state, out uint state)) break;
            if (state != Unformed) found.Add((module, state));
        }
        return found;
    }

    public KernelModule Read(LinearMemory memory, ulong module)
    {
        byte[] bytes = new byte[LongestModuleName];
        memory.Read(module + (ulong)_name, bytes);
        string name = Text(bytes);
        memory.TryRead32(module + (ulong)_state, out uint state);
        var parts = new List<(ulong, ulong)>();
        foreach (var (start, size) in _parts)
        {
            bool isRead = memory.TryRead64(module + (ulong)start, out ulong first)
                & memory.TryRead32(module + (ulong)size, out uint length);
            if (isRead && length > 0) parts.Add((first, length));
        }
        return new KernelModule(name, (KernelModuleState)state, parts, ReadSymbols(memory, module, name));
    }

    List<KernelSymbol> ReadSymbols(LinearMemory memory, ulong module, string name)
    {
        var found = new List<KernelSymbol>();
        bool isThere = memory.TryRead64(module + (ulong)_kallsyms, out ulong tables)
            & memory.TryRead64(tables + (ulong)_symbols, out ulong symbolsAt)
            & memory.TryRead32(tables + (ulong)_symbolCount, out uint count)
            & memory.TryRead64(tables + (ulong)_names, out ulong namesAt)
            & memory.TryRead64(tables + (ulong)_types, out ulong typesAt);
        if (!isThere || count > MostSymbols) return found;

        byte[] symbols = new byte[count * SymbolSize], types = new byte[count];
        if (!memory.TryRead(symbolsAt, symbols) || !memory.TryRead(typesAt, types)) return found;
        uint lastName = 0;
        for (int i = 0; i < count; i++) lastName = Math.Max(lastName, ReadUInt32LittleEndian(symbols.AsSpan(i * SymbolSize)));
        byte[] names = new byte[Math.Min(lastName, MostNames) + LongestName];
        memory.Read(namesAt, names);
        for (int i = 0; i < count; i++)
        {
            uint at = ReadUInt32LittleEndian(symbols.AsSpan(i * SymbolSize));
            if (at >= MostNames || Text(names.AsSpan((int)at, LongestName)) is not { Length: > 0 } text) continue;
            found.Add(new KernelSymbol(text, ReadUInt64LittleEndian(symbols.AsSpan(i * SymbolSize + 8)), (char)types[i], name));
        }
        return found;
    }

    static string Text(ReadOnlySpan<byte> bytes)
    {
        int length = bytes.IndexOf((byte)0);
        return Encoding.UTF8.GetString(length < 0 ? bytes : bytes[..length]);
    }

    static int Place(Btf types, string structure, string member) => types.Find(structure, member)?.Offset ?? -1;

    static IEnumerable<(int Base, int Size)> PartsOf(Btf types)
    {
        const int MostParts = 64;
        int start = Place(types, "module_layout", "base"), size = Place(types, "module_layout", "size");
        foreach (string layout in new[] { "core_layout", "init_layout" })
            if (types.Find("module", layout) is { } whole) yield return (whole.Offset + start, whole.Offset + size);

        if (types.Find("module", "mem") is not { } parts || types.Find(BtfKind.Structure, "module_memory") is not { } part) yield break;
        int step = types.SizeOf(part);
        (start, size) = (Place(types, "module_memory", "base"), Place(types, "module_memory", "size"));
        for (int i = 0; i < Math.Min(types.LengthOf(parts.Type) ?? 0, MostParts); i++)
            yield return (parts.Offset + i * step + start, parts.Offset + i * step + size);
    }
}
