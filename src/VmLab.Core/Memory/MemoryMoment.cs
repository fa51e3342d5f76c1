namespace VmLab.Core;

/// <summary>The RAM of a machine at one moment: immutable, and made in microseconds, whatever the size.</summary>
/// <remarks>
/// It holds frames that machines no longer have once they write; they are let go when it is disposed of, or collected.
/// </remarks>
public sealed class MemoryMoment : IDisposable, ISelfWritten<MemoryMoment>
{
    readonly FramePool _pool;
    MemoryLeaf[] _leaves;

    internal MemoryMoment(FramePool pool, ByteSize size, MemoryLeaf[] leaves)
    {
        _pool = pool;
        Size = size;
        _leaves = leaves;
    }

    ~MemoryMoment() => Release();

    public ByteSize Size { get; }

    /// <exception cref="ObjectDisposedException">The moment was disposed of.</exception>
    internal ReadOnlySpan<MemoryLeaf> Leaves
    {
        get
        {
            ObjectDisposedException.ThrowIf(_leaves.Length == 0, this);
            return _leaves;
        }
    }

    /// <summary>RAM full of zeros.</summary>
    public static MemoryMoment OfZeros(FramePool pool, ByteSize size)
    {
        var leaves = new MemoryLeaf[GuestMemory.LeavesOf(size)];
        for (int i = 0; i < leaves.Length; i++) leaves[i] = MemoryLeaf.OfZeros();
        return new MemoryMoment(pool, size, leaves);
    }

    /// <summary>The pages that were written since an earlier moment of the same memory, in their order; since zeros, where there is none.</summary>
    /// <remarks>Costs a step for each 2 MiB of RAM, and 512 for each of which a page was written.</remarks>
    public IReadOnlyList<uint> PagesSince(MemoryMoment? before)
    {
        var pages = new List<uint>();
        uint[] zeros = MemoryLeaf.OfZeros().Frames;
        for (int leaf = 0; leaf < Leaves.Length; leaf++)
        {
            if (before is not null && before.Leaves[leaf] == Leaves[leaf]) continue;
            ReadOnlySpan<uint> now = Leaves[leaf].Frames, then = before is null ? zeros : before.Leaves[leaf].Frames;
            for (int page = now.CommonPrefixLength(then); page < now.Length; page++)
                if (now[page] != then[page]) pages.Add((uint)(leaf << MemoryLeaf.Shift | page));
        }
        return pages;
    }

    /// <summary>The bytes of a page of RAM, good for as long as the moment is not disposed of.</summary>
    public unsafe ReadOnlySpan<byte> PageAt(uint page) =>
        new(_pool.Pointer(Leaves[(int)(page >> MemoryLeaf.Shift)].Frames[page & (MemoryLeaf.Pages - 1)]), FramePool.FrameSize);

    /// <summary>Writes the size, and by leaf which pages are not zero and where they are.</summary>
    public void Write(RecordWriter writer)
    {
        Span<byte> present = stackalloc byte[MemoryLeaf.Pages / 8];
        writer.WriteNumber(Size.Bytes);
        foreach (MemoryLeaf leaf in Leaves)
        {
            present.Clear();
            for (int page = 0; page < MemoryLeaf.Pages; page++)
                if (leaf.Frames[page] != 0) present[page >> 3] |= (byte)(1 << (page & 7));
            bool isEmpty = !present.ContainsAnyExcept((byte)0);
            writer.WriteBytes(isEmpty ? [] : present);
            if (isEmpty) continue;
            foreach (uint frame in leaf.Frames)
                if (frame != 0) writer.WritePage(new PageSource(_pool, frame));
        }
    }

    public static MemoryMoment Read(RecordReader reader)
    {
        var size = new ByteSize(reader.ReadNumber());
        if (size < 1.MiB || size > 64.GiB || size.Bytes % FramePool.FrameSize != 0) throw reader.Damaged($"a memory is of {size}");
        var leaves = new MemoryLeaf[GuestMemory.LeavesOf(size)];
        for (int i = 0; i < leaves.Length; i++)
        {
            leaves[i] = MemoryLeaf.OfZeros();
            byte[] present = reader.ReadBytes();
            if (present.Length == 0) continue;
            if (present.Length != MemoryLeaf.Pages / 8 || !present.AsSpan().ContainsAnyExcept((byte)0))
                throw reader.Damaged("a map of memory is of another size");
            for (int page = 0; page < MemoryLeaf.Pages; page++)
            {
                if ((present[page >> 3] >> (page & 7) & 1) == 0) continue;
                if (!GuestMemory.IsRamOf(size, ((ulong)i << MemoryLeaf.Shift) + (ulong)page)) throw reader.Damaged("a page is no RAM");
                leaves[i].Frames[page] = reader.ReadFrame();
            }
            reader.Pool.AddReferences(leaves[i].Frames);
        }
        return new MemoryMoment(reader.Pool, size, leaves);
    }

    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    void Release()
    {
        MemoryLeaf[] leaves = Interlocked.Exchange(ref _leaves, []);
        foreach (MemoryLeaf leaf in leaves) leaf.Release(_pool);
    }
}
