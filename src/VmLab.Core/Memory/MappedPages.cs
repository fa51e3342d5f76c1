namespace VmLab.Core;

/// <summary>Pages of a mapped file as frames of a pool, never written: a store takes a copy first.</summary>
/// <remarks>Thread-safe but for <see cref="Meet"/> and <see cref="BytesOf"/>.</remarks>
public sealed unsafe class MappedPages : IDisposable
{
    readonly byte* _pages;
    readonly IDisposable _file;
    readonly byte[]?[] _copies;
    FramePool? _pool;
    uint _first;

    // SAFETY: there are so many pages, good until the file is disposed of.
    internal MappedPages(byte* pages, int count, IDisposable file)
    {
        _pages = pages;
        _file = file;
        Count = count;
        _copies = new byte[count][];
    }

    /// <summary>The pool that has them.</summary>
    public FramePool Pool => _pool ?? throw new InvalidOperationException("The pages are in no pool yet.");

    public int Count { get; }

    /// <summary>How many pages were met.</summary>
    public int Used { get; private set; }

    /// <summary>Makes them frames of a pool, which keeps the file mapped for as long as it lives.</summary>
    public void MapInto(FramePool pool)
    {
        _first = pool.Map(_pages, Count, _file);
        _pool = pool;
    }

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

    /// <summary>Lets go of the file, unless a pool has its pages.</summary>
    public void Dispose()
    {
        if (_pool is null) _file.Dispose();
    }
}
