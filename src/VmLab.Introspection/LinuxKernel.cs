using System.Text;
using VmLab.Machines;
using static System.Buffers.Binary.BinaryPrimitives;

namespace VmLab.Introspection;

/// <summary>A running Linux kernel, its structures read from outside by its own symbols and type information.</summary>
/// <remarks>
/// Between two instructions the kernel may be in the middle of a change to what is read here: a list with an entry half linked in
/// ends there, and what is not mapped is left out.
/// </remarks>
public sealed class LinuxKernel
{
    readonly Btf? _types;

    /// <param name="symbols">The kernel's, read at this instant.</param>
    /// <param name="processor">The address space of the processor.</param>
    public LinuxKernel(KernelSymbols symbols, LinearMemory processor)
    {
        Symbols = symbols;
        Memory = symbols.Space(processor);
        _types = symbols.Types(Memory);
    }

    public KernelSymbols Symbols { get; }

    /// <exception cref="LabException">The kernel brings no type information.</exception>
    public Btf Types => _types ?? throw new LabException(
        "The guest's kernel has no BTF type information in its memory: it was built without CONFIG_DEBUG_INFO_BTF. Its symbols and "
        + "memory can be read, but not its structures, such as tasks, modules and log.");

    /// <summary>The kernel's own address space.</summary>
    public LinearMemory Memory { get; }

    /// <summary>What the kernel logged.</summary>
    /// <exception cref="LabException">This kernel keeps its log otherwise than Linux 6.1 to 6.18.</exception>
    public KernelLog Log => KernelLog.Read(this);

    /// <inheritdoc cref="KernelTask.ReadAll"/>
    /// <exception cref="LabException">This kernel keeps its tasks otherwise than Linux 6.1 to 6.18.</exception>
    public IReadOnlyList<KernelTask> Tasks => KernelTask.ReadAll(this);

    /// <summary>The loaded modules, the youngest first.</summary>
    /// <exception cref="LabException">The kernel brings no type information.</exception>
    public IReadOnlyList<KernelModule> Modules
    {
        get
        {
            _ = Types;   // without, the list is not empty but unknown
            return Symbols.Modules;
        }
    }

    /// <summary>The kernel has begun to panic since it was booted.</summary>
    /// <remarks>Source: Linux 6.1, kernel/panic.c, "panic_cpu", which only panics and crash dumps set.</remarks>
    public bool HasPanicked => TryReadSymbol("panic_cpu", size: 4, out ulong processor) && (int)processor != -1;

    /// <summary>The kernel has oopsed since it was booted: an exception in its own code, or a BUG.</summary>
    /// <remarks>Source: Linux 6.1, kernel/panic.c, "tainted_mask"; include/linux/panic.h, "TAINT_DIE".</remarks>
    public bool HasOopsed => TryReadSymbol("tainted_mask", size: 8, out ulong taints) && (taints >> 7 & 1) != 0;

    /// <summary>Where a member lies.</summary>
    /// <exception cref="LabException">This kernel has no such member.</exception>
    internal BtfMember Member(string structure, string path) => Types.Find(structure, path) ?? throw new LabException(
        $"The guest's kernel has no {structure}.{path}: it is older than Linux 6.1, or newer than VmLab knows.");

    /// <exception cref="LabException">This kernel has no such symbol.</exception>
    internal ulong Symbol(string name) => Symbols.TryFind(name, out ulong address) ? address : throw new LabException(
        $"The guest's kernel has no symbol \"{name}\": it was built without CONFIG_KALLSYMS_ALL, or is not of a version that VmLab knows.");

    /// <summary>Reads a member of at most 64 bits, a bit field too.</summary>
    /// <returns><see langword="false"/>: the structure is not in memory.</returns>
    internal bool TryRead(ulong structure, BtfMember member, out ulong value)
    {
        int skipped = member.BitOffset % 8, size = Math.Min((skipped + member.BitSize + 7) / 8, 8);
        bool isRead = TryRead(structure + (ulong)member.Offset, size, out value);
        value >>= skipped;
        if (member.BitSize is > 0 and < 64) value &= (1UL << member.BitSize) - 1;
        return isRead;
    }

    internal bool TryRead(ulong address, int size, out ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        bool isRead = Memory.TryRead(address, bytes[..size]);
        value = ReadUInt64LittleEndian(bytes);
        return isRead;
    }

    internal string ReadText(ulong address, int length)
    {
        byte[] bytes = new byte[length];
        ReadOnlySpan<byte> read = bytes.AsSpan(0, Memory.Read(address, bytes));
        int end = read.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? read : read[..end]);
    }

    /// <summary>The structures that a circular list of the kernel links, up to one that it links twice.</summary>
    /// <param name="head">Linear address of the list's head.</param>
    /// <param name="link">Where the link lies in each structure.</param>
    internal IEnumerable<ulong> List(ulong head, BtfMember link)
    {
        const int MostLinked = 1 << 17;
        var seen = new HashSet<ulong>();
        ulong at = head;
        while (seen.Count < MostLinked && Memory.TryRead64(at, out at) && at != head && seen.Add(at)) yield return at - (ulong)link.Offset;
    }

    bool TryReadSymbol(string name, int size, out ulong value)
    {
        value = 0;
        return Symbols.TryFind(name, out ulong address) && TryRead(address, size, out value);
    }
}
