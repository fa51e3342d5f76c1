using System.IO.Hashing;

namespace VmLab.Core;

/// <summary>Bytes of one page: a frame of a pool, or an array.</summary>
public readonly unsafe struct PageSource
{
    readonly byte* _frame;
    readonly byte[]? _bytes;

    /// <param name="bytes">4 KiB, which nobody changes any more.</param>
    public PageSource(byte[] bytes) => _bytes = bytes;

    /// <param name="frame">A frame that the caller has a reference to for as long as this is used.</param>
    public PageSource(FramePool pool, uint frame) => _frame = pool.Pointer(frame);

    public ReadOnlySpan<byte> Bytes => _bytes ?? new ReadOnlySpan<byte>(_frame, FramePool.FrameSize);
}

/// <summary>The pages of a moment, equal ones once, numbered in the order in which they were first met.</summary>
public sealed class PageList
{
    readonly List<PageSource> _pages = [];
    readonly Dictionary<UInt128, List<int>> _byHash = [];

    public IReadOnlyList<PageSource> Pages => _pages;

    /// <returns>The page's number.</returns>
    public int Add(PageSource page)
    {
        UInt128 hash = XxHash128.HashToUInt128(page.Bytes);
        if (!_byHash.TryGetValue(hash, out List<int>? alike)) _byHash[hash] = alike = new(1);
        foreach (int number in alike)
            if (_pages[number].Bytes.SequenceEqual(page.Bytes)) return number;   // a guest may have made two of one hash
        alike.Add(_pages.Count);
        _pages.Add(page);
        return _pages.Count - 1;
    }
}
