namespace VmLab.Core;

/// <summary>The RAM of a machine at one moment: immutable, and made in microseconds, whatever the size.</summary>
/// <remarks>
/// It holds frames that machines no longer have once they write; they are let go when it is disposed of, or collected.
/// </remarks>
public sealed class MemoryMoment : IDisposable, ISelfWritten<MemoryMoment>
{
    static readonly uint[] s_zeros = new uint[MemoryLeaf.Pages];

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

    /// <summary>The number, in the pool, of the frame that a page of RAM lies in.</summary>
    public uint FrameOf(uint page) => Leaves[(int)(page >> MemoryLeaf.Shift)].Frames[page & (MemoryLeaf.Pages - 1)];

    /// <summary>The bytes of a page of RAM, good for as long as the moment is not disposed of.</summary>
    public unsafe ReadOnlySpan<byte> PageAt(uint page) => new(_pool.Pointer(FrameOf(page)), FramePool.FrameSize);

    /// <summary>Writes the size, and by leaf which pages differ from those of the earlier memory, or from zeros, and where they are.</summary>
    public void Write(RecordWriter writer)
    {
        MemoryMoment? earlier = writer.Earlier<MemoryMoment>();
        Span<byte> changed = stackalloc byte[MemoryLeaf.Pages / 8];
        writer.WriteNumber(Size.Bytes);
        for (int i = 0; i < Leaves.Length; i++)
        {
            ReadOnlySpan<uint> now = Leaves[i].Frames, before = earlier is null ? s_zeros : earlier.Leaves[i].Frames;
            changed.Clear();
            for (int page = now.CommonPrefixLength(before); page < MemoryLeaf.Pages; page++)
                if (now[page] != before[page]) changed[page >> 3] |= (byte)(1 << (page & 7));
            bool isSame = !changed.ContainsAnyExcept((byte)0);
            writer.WriteBytes(isSame ? [] : changed);
            if (isSame) continue;
            for (int page = 0; page < MemoryLeaf.Pages; page++)
            {
                if (now[page] == before[page]) continue;
                if (now[page] == 0) writer.WriteNoPage();
                else writer.WritePage(new PageSource(_pool, now[page]));
            }
        }
    }

    public static MemoryMoment Read(RecordReader reader)
    {
        MemoryMoment? earlier = reader.Earlier<MemoryMoment>();
        var size = new ByteSize(reader.ReadNumber());
        if (size < 1.MiB || size > 64.GiB || size.Bytes % FramePool.FrameSize != 0) throw reader.Damaged($"a memory is of {size}");
        if (earlier is not null && earlier.Size != size) throw reader.Damaged("its parent has another size of memory");
        var leaves = new MemoryLeaf[GuestMemory.LeavesOf(size)];
        for (int i = 0; i < leaves.Length; i++)
        {
            byte[] changed = reader.ReadBytes();
            if (changed.Length == 0) leaves[i] = earlier?.Leaves[i].Share() ?? MemoryLeaf.OfZeros();
            else leaves[i] = ReadLeaf(reader, size, (ulong)i << MemoryLeaf.Shift, changed, earlier is null ? s_zeros : earlier.Leaves[i].Frames);
        }
        return new MemoryMoment(reader.Pool, size, leaves);
    }

    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    static MemoryLeaf ReadLeaf(RecordReader reader, ByteSize size, ulong firstPage, byte[] changed, ReadOnlySpan<uint> before)
    {
        if (changed.Length != MemoryLeaf.Pages / 8 || !changed.AsSpan().ContainsAnyExcept((byte)0))
            throw reader.Damaged("a map of memory is of another size");
        MemoryLeaf leaf = MemoryLeaf.OfZeros();
        before.CopyTo(leaf.Frames);
        for (int page = 0; page < MemoryLeaf.Pages; page++)
        {
            if ((changed[page >> 3] >> (page & 7) & 1) == 0) continue;
            if (!GuestMemory.IsRamOf(size, firstPage + (ulong)page)) throw reader.Damaged("a page is no RAM");
            leaf.Frames[page] = reader.ReadFrame();
            if (leaf.Frames[page] == before[page]) throw reader.Damaged("a page is as it was before");
        }
        reader.Pool.AddReferences(leaf.Frames);
        return leaf;
    }

    void Release()
    {
        MemoryLeaf[] leaves = Interlocked.Exchange(ref _leaves, []);
        foreach (MemoryLeaf leaf in leaves) leaf.Release(_pool);
    }
}
