namespace VmLab.Core;

/// <summary>The RAM of a machine at one moment: immutable, and made in microseconds, whatever the size.</summary>
/// <remarks>
/// It holds frames that machines no longer have once they write; they are let go when it is disposed of, or collected.
/// </remarks>
public sealed class MemoryMoment : IDisposable
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
