using System.Runtime.InteropServices;

namespace VmLab.X86;

/// <summary>Decoded blocks by host address and mode, and by guest page so that a store can drop them.</summary>
/// <remarks>
/// Blocks live in an arena that is only emptied whole, between blocks: a dropped block stays readable for the
/// instruction that
/// dropped it. The limit is in <see cref="MaxArenaBytes"/>.
/// </remarks>
sealed unsafe class CodeCache : IDisposable
{
    const int ChunkBytes = 1 << 20, MaxArenaBytes = 20 << 20;
    const int GranuleShift = 6;   // a page's 64 granules of 64 bytes fit a word

    sealed class CodePage
    {
        public readonly List<nint> Blocks = [];
        public ulong Granules;
    }

    readonly CpuState* _s;
    readonly Dictionary<ulong, nint> _blocks = [];
    readonly Dictionary<ulong, CodePage> _pages = [];
    readonly List<ulong> _stale = [];
    readonly List<nint> _chunks = [];
    int _chunk = -1, _used = ChunkBytes;

    public CodeCache(CpuState* state)
    {
        _s = state;
        _s->BlockCache = (BlockSlot*)NativeMemory.AllocZeroed(1 << CodeKey.CacheBits, (nuint)sizeof(BlockSlot));
    }

    /// <summary>What translated code enters a block by that is not translated.</summary>
    public byte* Untranslated { get; set; }

    public bool IsFull => _chunk * ChunkBytes + _used > MaxArenaBytes;

    /// <summary>
    /// The block of a key, or <see langword="null"/>; it is at hand for <see cref="Exec.Goto"/> from now on.
    /// </summary>
    public Block* Find(ulong key)
    {
        BlockSlot* slot = _s->BlockCache + CodeKey.Slot(key);
        if (slot->Key == key) return slot->Block;
        if (!_blocks.TryGetValue(key, out nint found)) return null;
        slot->Key = key;
        slot->Block = (Block*)found;
        return slot->Block;
    }

    /// <summary>Keeps a block of a guest page, which the caller protects.</summary>
    public Block* Add(ulong page, Block header, Op* ops, int opCount)
    {
        Block* block = Allocate(header, ops, opCount);
        _blocks[header.Key] = (nint)block;
        if (!_pages.TryGetValue(page, out CodePage? code)) _pages[page] = code = new CodePage();
        code.Blocks.Add((nint)block);
        code.Granules |= GranulesOf((int)(header.Key & 0xFFF), header.Length);
        return Find(header.Key);
    }

    /// <summary>Where a block's translation ends: at the next one, or at the end of all.</summary>
    public byte* EndOfNative(Block* block, byte* end)
    {
        foreach (nint other in _blocks.Values)
        {
            byte* native = ((Block*)other)->Native;
            if (native > block->Native && native < end) end = native;
        }
        return end;
    }

    /// <summary>Copies a block into the arena without keeping it.</summary>
    public Block* Allocate(Block header, Op* ops, int opCount)
    {
        int bytes = sizeof(Block) + opCount * sizeof(Op);
        if (_used + bytes > ChunkBytes)
        {
            _chunk++;
            _used = 0;
            if (_chunk == _chunks.Count) _chunks.Add((nint)NativeMemory.AlignedAlloc(ChunkBytes, 64));
        }
        var block = (Block*)(_chunks[_chunk] + _used);
        _used += bytes;
        *block = header;
        block->Native = Untranslated;
        if (ops != null) new ReadOnlySpan<Op>(ops, opCount).CopyTo(new Span<Op>(Block.Ops(block), opCount));
        return block;
    }

    /// <summary>Room for ops of no block, for as long as the blocks last.</summary>
    public Op* AllocateOps(int count) => Block.Ops(Allocate(default, null, count));

    /// <summary>Whether any block was decoded from these bytes of a page; never wrongly "no".</summary>
    public bool Overlaps(ulong page, int offset, int length) =>
        _pages.TryGetValue(page, out CodePage? code) && (code.Granules & GranulesOf(offset, length)) != 0;

    /// <summary>The block whose translation holds a host address, or the last before it.</summary>
    public Block* BlockOf(byte* native)
    {
        Block* last = null;
        foreach (nint found in _blocks.Values)
        {
            var block = (Block*)found;
            bool isBefore = block->Native != Untranslated && block->Native <= native;
            if (isBefore && (last == null || block->Native > last->Native)) last = block;
        }
        return last;
    }

    public void DropPage(ulong page)
    {
        if (!_pages.Remove(page, out CodePage? code)) return;
        foreach (nint block in code.Blocks)
        {
            ulong key = ((Block*)block)->Key;
            ((Block*)block)->Key = 0;   // whoever is linked to it sees that it is no more
            _blocks.Remove(key);
            BlockSlot* slot = _s->BlockCache + CodeKey.Slot(key);
            if (slot->Key == key) *slot = default;
        }
        ForgetReturns();
    }

    /// <summary>Drops every page with a block in one of these granules of 64 bytes, given as bits.</summary>
    /// <returns>Those pages, whose protection may go.</returns>
    public ulong[] DropGranules(ulong granules)
    {
        ulong[] dropped = [.. _pages.Where(page => (page.Value.Granules & granules) != 0).Select(page => page.Key)];
        foreach (ulong page in dropped) DropPage(page);
        return dropped;
    }

    /// <summary>The pages that blocks were decoded from before the last flush; their protection may go.</summary>
    public ulong[] TakeProtectedPages()
    {
        ulong[] pages = [.. _stale];
        _stale.Clear();
        return pages;
    }

    public void Flush()
    {
        _stale.AddRange(_pages.Keys);
        _blocks.Clear();
        _pages.Clear();
        new Span<BlockSlot>(_s->BlockCache, 1 << CodeKey.CacheBits).Clear();
        _chunk = -1;
        _used = ChunkBytes;
        _s->Leave = Leave.Next;
        _s->Left = null;
        ForgetReturns();
    }

    public void Dispose()
    {
        foreach (nint chunk in _chunks) NativeMemory.AlignedFree((void*)chunk);
        _chunks.Clear();
        NativeMemory.Free(_s->BlockCache);
        _s->BlockCache = null;
    }

    void ForgetReturns() => new Span<ulong>(_s->Returns, 2 * CpuState.CachedReturns).Clear();

    static ulong GranulesOf(int offset, int length)
    {
        int first = offset >> GranuleShift, last = Math.Min(offset + Math.Max(length, 1) - 1 >> GranuleShift, 63);
        return ulong.MaxValue << first & ulong.MaxValue >> 63 - last;
    }
}
