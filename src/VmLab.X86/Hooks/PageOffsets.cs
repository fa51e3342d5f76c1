namespace VmLab.X86;

/// <summary>A set of byte offsets within a page.</summary>
sealed class PageOffsets
{
    /// <summary>None, and never to be given any.</summary>
    public static readonly PageOffsets None = new();

    readonly ulong[] _bits = new ulong[64];

    public PageOffsets Copy()
    {
        var copy = new PageOffsets();
        _bits.CopyTo(copy._bits, 0);
        return copy;
    }

    /// <summary>The granules of 64 bytes, as bits, in which this set differs from another.</summary>
    public ulong GranulesOtherThan(PageOffsets other)
    {
        ulong granules = 0;
        for (int i = 0; i < _bits.Length; i++)
            if (_bits[i] != other._bits[i]) granules |= 1UL << i;
        return granules;
    }

    public void Clear() => Array.Clear(_bits);

    public void Add(ulong address) => _bits[(address & 0xFFF) >> 6] |= 1UL << (int)(address & 63);

    public bool Contains(ulong address) => (_bits[(address & 0xFFF) >> 6] >> (int)(address & 63) & 1) != 0;
}
