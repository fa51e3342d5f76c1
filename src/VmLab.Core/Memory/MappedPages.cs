namespace VmLab.Core;

/// <summary>Pages of a mapped file as frames of a pool of their own, never written: a store takes a copy first.</summary>
/// <remarks>Thread-safe but for <see cref="Meet"/> and <see cref="BytesOf"/>.</remarks>
public sealed unsafe class MappedPages
{
    readonly uint _first;
    readonly byte[]?[] _copies;

    internal MappedPages(FramePool pool, byte* pages, int count, IDisposable file)
    {
        Pool = pool;
        Count = count;
        _copies = new byte[count][];
        _first = pool.Map(pages, count, file);
    }

    /// <summary>The pool, which keeps the file mapped for as long as it lives.</summary>
    public FramePool Pool { get; }

    public int Count { get; }

    /// <summary>How many pages were met.</summary>
    public int Used { get; private set; }

    public uint FrameOf(int page) => _first + (uint)page;

    /// <summary>The bytes of a page, the same array for all who ask; nobody may write it.</summary>
    public byte[] BytesOf(int page) =>
        _copies[page] ??= new ReadOnlySpan<byte>(Pool.Pointer(FrameOf(page)), FramePool.FrameSize).ToArray();

    /// <summary>Notes that a page is used, and says whether there is such a page; new ones come in their order.</summary>
    public bool Meet(int page)
    {
        if (page < 0 || page > Used || page >= Count) return false;
        if (page == Used) Used++;
        return true;
    }
}
