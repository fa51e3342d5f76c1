using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.InteropServices;

namespace VmLab.Core;

/// <summary>The RAM of one machine: a map from guest-physical pages to frames of the pool.</summary>
/// <remarks>
/// RAM lies from 0 up to at most 3 GiB and goes on at 4 GiB, as on a PC. Every store, by a vCPU or by DMA, goes through
/// <see cref="BeginWrite"/> or through a right to store that <see cref="IMemoryObserver.OnProtected"/> takes back, so
/// that dirty pages,
/// decoded code, page tables and shared frames are always known. One thread at a time.
/// </remarks>
public sealed unsafe class GuestMemory : IDisposable
{
    public const int PageSize = FramePool.FrameSize, PageShift = FramePool.FrameShift;

    /// <summary>Where RAM makes room for devices, and where it goes on.</summary>
    public const ulong LowTop = 0xC000_0000, HighBase = 0x1_0000_0000;

    static readonly byte[] s_zeroPage = new byte[PageSize];
    static readonly ulong s_zeroPageHash = XxHash3.HashToUInt64(s_zeroPage);

    readonly FramePool _pool;
    readonly MemoryLeaf[] _leaves;
    readonly PageFlags[] _flags;
    readonly List<uint> _dirty = [];
    readonly List<IMemoryObserver> _observers = [];
    readonly ulong _lowPages;
    HashSet<uint>? _absent;
    IElsewhere? _elsewhere;

    /// <summary>RAM full of zeros.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="size"/> is not 1 MiB to 64 GiB.</exception>
    public GuestMemory(FramePool pool, ByteSize size)
    {
        Require.InRange(size, 1.MiB, 64.GiB);
        _pool = pool;
        Size = SizeOf(size);
        _lowPages = Math.Min(Size.Bytes, LowTop) >> PageShift;
        TopPage = TopOf(Size) >> PageShift;
        _flags = new PageFlags[TopPage];
        Array.Fill(_flags, PageFlags.Clean | PageFlags.Shared);
        _leaves = new MemoryLeaf[LeavesOf(Size)];
        for (int i = 0; i < _leaves.Length; i++) _leaves[i] = MemoryLeaf.OfZeros();
    }

    public ByteSize Size { get; }

    /// <summary>
    /// One past the highest page of RAM; pages between <see cref="LowTop"/> and <see cref="HighBase"/> are no RAM.
    /// </summary>
    public ulong TopPage { get; }

    /// <summary>The ranges of RAM, lowest first: first byte and length.</summary>
    public IEnumerable<(ulong Start, ulong Length)> Ranges
    {
        get
        {
            yield return (0, _lowPages << PageShift);
            if (Size.Bytes > LowTop) yield return (HighBase, Size.Bytes - LowTop);
        }
    }

    /// <summary>The pages written since the last moment was taken or restored, in the order of their first stores.</summary>
    public ReadOnlySpan<uint> DirtyPages => CollectionsMarshal.AsSpan(_dirty);

    public void Attach(IMemoryObserver observer) => _observers.Add(observer);

    public bool IsRam(ulong page) => page < _lowPages || page >= HighBase >> PageShift && page < TopPage;

    /// <summary>Whether all bytes of a range are RAM; an empty range is where its first byte would be.</summary>
    public bool IsRam(ulong address, ulong length)
    {
        ulong end = address + length;
        return end >= address
            && (end <= _lowPages << PageShift || address >= HighBase && end <= TopPage << PageShift);
    }

    /// <summary>The flags of a page of RAM.</summary>
    public PageFlags FlagsOf(ulong page) => _flags[page];

    /// <summary>The number, in the pool, of the frame that a page of RAM lies in.</summary>
    public uint FrameOf(ulong page) => IsAbsent((uint)page)
        ? _elsewhere!.FrameOf((uint)page)
        : _leaves[page >> MemoryLeaf.Shift].Frames[page & (MemoryLeaf.Pages - 1)];

    /// <summary>Notes that a TLB holds a pointer to the page of RAM, and returns the pointer.</summary>
    /// <remarks>
    /// SAFETY: good until <see cref="IMemoryObserver.OnMoved"/> names the page; to be stored through only without
    /// SlowStore flags.
    /// </remarks>
    public byte* Cache(ulong page)
    {
        if (_absent is not null) Fetch((uint)page);
        _flags[page] |= PageFlags.Cached;
        return _pool.Pointer(FrameOf(page));
    }

    /// <summary>Pointer to the bytes of a page of RAM, for reading at once.</summary>
    public byte* ReadPointer(ulong page) => _absent is null ? _pool.Pointer(FrameOf(page)) : ReadAbsent((uint)page);

    /// <summary>Pages of RAM come later, by <see cref="Fill"/>, and at once when they are touched.</summary>
    public void Miss(IEnumerable<uint> pages, IElsewhere elsewhere) => (_absent, _elsewhere) = ([.. pages], elsewhere);

    /// <summary>Whether pages are to come.</summary>
    public bool HasAbsent => _absent is not null;

    public bool IsAbsent(uint page) => _absent is not null && _absent.Contains(page);

    /// <summary>Replaces all of a page of RAM, which is not absent any more.</summary>
    /// <param name="bytes">4 KiB, or none for zeros.</param>
    public void Fill(uint page, ReadOnlySpan<byte> bytes)
    {
        if (_absent is not null && _absent.Remove(page) && _absent.Count == 0) _absent = null;
        var target = new Span<byte>(BeginWrite(page, 0, PageSize), PageSize);
        if (bytes.IsEmpty) target.Clear();
        else bytes.CopyTo(target);
    }

    /// <summary>
    /// Makes a page of RAM ready for one store: tells observers, takes a copy of a shared frame, marks it dirty.
    /// </summary>
    /// <returns>Pointer to the page's first byte, for storing the announced bytes at once.</returns>
    public byte* BeginWrite(ulong page, int offset, int length)
    {
        PageFlags flags = _flags[page];
        if ((flags & PageFlags.SlowStore) != 0) PrepareWrite(page, offset, length, flags);
        return _pool.Pointer(FrameOf(page));
    }

    /// <summary>Puts a page of RAM under protection: stores to it are announced from now on.</summary>
    public void Protect(ulong page, PageFlags flag)
    {
        PageFlags before = _flags[page];
        if ((before & flag) == flag) return;
        _flags[page] = before | flag;
        if ((before & PageFlags.Cached) == 0) return;
        foreach (IMemoryObserver observer in CollectionsMarshal.AsSpan(_observers)) observer.OnProtected(page);
    }

    public void Unprotect(ulong page, PageFlags flag) => _flags[page] &= ~flag;

    /// <summary>Reads RAM by physical address; bytes outside RAM read as ones.</summary>
    public void Read(ulong address, Span<byte> destination)
    {
        while (destination.Length > 0)
        {
            int offset = (int)(address & (PageSize - 1));
            int length = Math.Min(destination.Length, PageSize - offset);
            ulong page = address >> PageShift;
            if (IsRam(page)) new ReadOnlySpan<byte>(ReadPointer(page) + offset, length).CopyTo(destination);
            else destination[..length].Fill(0xFF);
            destination = destination[length..];
            address += (ulong)length;
        }
    }

    /// <summary>Writes RAM by physical address, as DMA does; bytes outside RAM are swallowed.</summary>
    public void Write(ulong address, ReadOnlySpan<byte> source)
    {
        while (source.Length > 0)
        {
            int offset = (int)(address & (PageSize - 1));
            int length = Math.Min(source.Length, PageSize - offset);
            ulong page = address >> PageShift;
            if (IsRam(page)) source[..length].CopyTo(new Span<byte>(BeginWrite(page, offset, length) + offset, length));
            source = source[length..];
            address += (ulong)length;
        }
    }

    public ulong Read64(ulong address)
    {
        int offset = (int)(address & (PageSize - 1));
        if (offset <= PageSize - sizeof(ulong) && IsRam(address >> PageShift))
            return BinaryPrimitives.ReadUInt64LittleEndian(
                new ReadOnlySpan<byte>(ReadPointer(address >> PageShift) + offset, sizeof(ulong)));
        Span<byte> bytes = stackalloc byte[8];
        Read(address, bytes);
        return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
    }

    public uint Read32(ulong address) => (uint)Read64(address);

    public ushort Read16(ulong address) => (ushort)Read64(address);

    public void Write16(ulong address, ushort value) => Write(address, [(byte)value, (byte)(value >> 8)]);

    public void Write32(ulong address, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        Write(address, bytes);
    }

    public void Write64(ulong address, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        Write(address, bytes);
    }

    /// <summary>Hash of all of RAM: equal for equal bytes, whatever frames hold them.</summary>
    public ulong Hash()
    {
        var hash = new StateHash();
        for (ulong page = 0; page < TopPage; page++)
        {
            if (!IsRam(page)) continue;
            uint frame = FrameOf(page);
            hash.Add(frame == 0 ? s_zeroPageHash : XxHash3.HashToUInt64(new ReadOnlySpan<byte>(_pool.Pointer(frame), PageSize)));
        }
        return hash.Value;
    }

    /// <summary>Physical address of the first byte that differs from a memory of this size and pool; <see langword="null"/> for none.</summary>
    /// <remarks>Costs a step for each 2 MiB of RAM and the comparison of each page whose frame is another.</remarks>
    public ulong? FirstDifference(GuestMemory other)
    {
        for (int leaf = 0; leaf < _leaves.Length; leaf++)
        {
            ReadOnlySpan<uint> here = _leaves[leaf].Frames, there = other._leaves[leaf].Frames;
            for (int i = here.CommonPrefixLength(there); i < here.Length; i++)
            {
                if (here[i] == there[i]) continue;
                ulong page = (ulong)leaf << MemoryLeaf.Shift | (uint)i;
                int same = Bytes(FrameOf(page)).CommonPrefixLength(Bytes(other.FrameOf(page)));
                if (same < PageSize) return page << PageShift | (uint)same;
            }
        }
        return null;

        ReadOnlySpan<byte> Bytes(uint frame) => frame == 0 ? s_zeroPage : new ReadOnlySpan<byte>(_pool.Pointer(frame), PageSize);
    }

    /// <summary>Takes a moment, in which no page is absent: all pages are clean again, and shared with it.</summary>
    /// <remarks>Costs a step for each 2 MiB of RAM and each dirty or absent page.</remarks>
    public MemoryMoment Snapshot()
    {
        (uint Page, uint Frame)[] absent = [.. (_absent ?? []).ToArray().Select(page => (page, FrameOf(page)))];   // which may fill it
        foreach (uint page in _dirty) _flags[page] |= PageFlags.Clean | PageFlags.Shared;
        _dirty.Clear();
        foreach (IMemoryObserver observer in _observers) observer.OnAllProtected();
        MemoryLeaf[] leaves = [.. _leaves.Select(leaf => leaf.Share())];
        foreach (var (page, frame) in absent) Share(ref leaves[page >> MemoryLeaf.Shift], page, frame);
        return new MemoryMoment(_pool, Size, leaves);
    }

    /// <summary>Makes RAM what it was at a moment of a memory of this size and pool.</summary>
    /// <remarks>Costs a step for each 2 MiB of RAM and each page that differs, and what observers made of those.</remarks>
    public void Restore(MemoryMoment moment)
    {
        ReadOnlySpan<MemoryLeaf> leaves = moment.Leaves;
        if (moment.Size != Size) throw new ArgumentException($"The moment is of {moment.Size} of RAM, this is {Size}.", nameof(moment));
        foreach (uint page in _dirty) _flags[page] |= PageFlags.Clean | PageFlags.Shared;
        _dirty.Clear();
        _absent = null;
        foreach (IMemoryObserver observer in _observers) observer.OnAllProtected();
        for (int i = 0; i < _leaves.Length; i++)
        {
            if (_leaves[i] == leaves[i]) continue;
            Replace((ulong)i << MemoryLeaf.Shift, _leaves[i].Frames, leaves[i].Frames);
            MemoryLeaf before = _leaves[i];
            _leaves[i] = leaves[i].Share();
            before.Release(_pool);
        }
    }

    /// <summary>The bytes of a page of RAM, until the next store to it.</summary>
    internal ReadOnlySpan<byte> PageOf(ulong page) => new(ReadPointer(page), PageSize);

    /// <summary>Takes the frame of a page of a memory of this pool, if it holds the same bytes; who writes to one of them takes a copy.</summary>
    internal void Share(ulong page, GuestMemory other, ulong otherPage)
    {
        uint frame = other.FrameOf(otherPage), own = FrameOf(page);
        if (frame == own || !PageOf(page).SequenceEqual(other.PageOf(otherPage))) return;
        _pool.AddReferences([frame]);
        SlotOf(page) = frame;
        _pool.Release(own);
        TellMoved(page);
        Protect(page, PageFlags.Shared);
        other.Protect(otherPage, PageFlags.Shared);
    }

    public void Dispose()
    {
        _absent = null;
        for (int i = 0; i < _leaves.Length; i++)
        {
            _leaves[i].Release(_pool);
            _leaves[i] = MemoryLeaf.OfZeros();
        }
    }

    /// <summary>What a memory of this size comes to, in whole pages.</summary>
    public static ByteSize SizeOf(ByteSize size) => new(size.Bytes & ~(ulong)(PageSize - 1));

    /// <summary>How many leaves the map of so much RAM has.</summary>
    internal static ulong LeavesOf(ByteSize size) => ((TopOf(size) >> PageShift) + MemoryLeaf.Pages - 1) >> MemoryLeaf.Shift;

    /// <summary>Whether a page is RAM in a memory of this size.</summary>
    internal static bool IsRamOf(ByteSize size, ulong page) =>
        page < Math.Min(size.Bytes, LowTop) >> PageShift || page >= HighBase >> PageShift && page < TopOf(size) >> PageShift;

    static ulong TopOf(ByteSize size) => size.Bytes <= LowTop ? size.Bytes : HighBase + size.Bytes - LowTop;

    void Replace(ulong firstPage, ReadOnlySpan<uint> before, ReadOnlySpan<uint> after)
    {
        for (int i = before.CommonPrefixLength(after); i < before.Length; i++)
        {
            if (before[i] == after[i]) continue;
            ulong page = firstPage + (ulong)i;
            foreach (IMemoryObserver observer in _observers) observer.OnReplacing(page);
            _flags[page] = _flags[page] & PageFlags.Watched | PageFlags.Clean | PageFlags.Shared;
        }
    }

    void Fetch(uint page)
    {
        if (_absent!.Contains(page)) _elsewhere!.Fetch(page);
    }

    byte* ReadAbsent(uint page)
    {
        if (!_elsewhere!.IsLookedAt) Fetch(page);
        return _pool.Pointer(FrameOf(page));
    }

    /// <summary>Puts an absent page into a leaf of a moment.</summary>
    void Share(ref MemoryLeaf leaf, uint page, uint frame)
    {
        if (leaf.IsShared) leaf = leaf.Part(_pool);
        ref uint slot = ref leaf.Frames[page & (MemoryLeaf.Pages - 1)];
        _pool.AddReferences([frame]);
        _pool.Release(slot);
        slot = frame;
    }

    void PrepareWrite(ulong page, int offset, int length, PageFlags flags)
    {
        if (_absent is not null) Fetch((uint)page);
        if ((flags & (PageFlags.Code | PageFlags.Table | PageFlags.Watched)) != 0)
            foreach (IMemoryObserver observer in CollectionsMarshal.AsSpan(_observers))
                observer.OnWriting(page, offset, length, flags);
        if ((flags & PageFlags.Shared) != 0) Unshare(page);
        if ((flags & PageFlags.Clean) == 0) return;
        _flags[page] &= ~PageFlags.Clean;
        _dirty.Add((uint)page);
    }

    void Unshare(ulong page)
    {
        ref uint slot = ref SlotOf(page);
        uint old = slot;
        if (_pool.IsShared(old))
        {
            uint copy = _pool.Take();
            var target = new Span<byte>(_pool.Pointer(copy), PageSize);
            if (old == 0) target.Clear();
            else new ReadOnlySpan<byte>(_pool.Pointer(old), PageSize).CopyTo(target);
            slot = copy;
            _pool.Release(old);
            TellMoved(page);
        }
        _flags[page] &= ~PageFlags.Shared;
    }

    /// <summary>Where the map has the frame of a page, to be changed.</summary>
    ref uint SlotOf(ulong page)
    {
        ref MemoryLeaf leaf = ref _leaves[page >> MemoryLeaf.Shift];
        if (leaf.IsShared) leaf = leaf.Part(_pool);
        return ref leaf.Frames[page & (MemoryLeaf.Pages - 1)];
    }

    void TellMoved(ulong page)
    {
        if ((_flags[page] & PageFlags.Cached) == 0) return;
        foreach (IMemoryObserver observer in CollectionsMarshal.AsSpan(_observers)) observer.OnMoved(page);
    }
}
