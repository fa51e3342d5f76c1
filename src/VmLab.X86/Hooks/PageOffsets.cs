namespace VmLab.X86;

/// <summary>A set of byte offsets within a page.</summary>
sealed class PageOffsets
{
    /// <summary>None, and never to be given any.</summary>
    public static readonly PageOffsets None = new();

    readonly ulong[] _bits = new ulong[64];

    public void Clear() => Array.Clear(_bits);

    public void Add(ulong address) => _bits[(address & 0xFFF) >> 6] |= 1UL << (int)(address & 63);

    public bool Contains(ulong address) => (_bits[(address & 0xFFF) >> 6] >> (int)(address & 63) & 1) != 0;
}
