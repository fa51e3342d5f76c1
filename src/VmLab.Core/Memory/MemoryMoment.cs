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
