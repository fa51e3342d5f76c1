namespace VmLab.Core;

/// <summary>The frames of 512 pages: one leaf of a two-level map, shared by machines and moments until one of them writes.</summary>
/// <remarks>
/// Frames count one reference for each leaf that names them. Thread-safe but for <see cref="Frames"/>, which only a
/// sole owner changes.
/// </remarks>
sealed class MemoryLeaf
{
    public const int Shift = 9, Pages = 1 << Shift;

    int _owners = 1;

    MemoryLeaf(uint[] frames) => Frames = frames;

    /// <summary>By page, the number of its frame in the pool.</summary>
    public uint[] Frames { get; }

    public bool IsShared => Volatile.Read(ref _owners) > 1;

    /// <summary>A leaf of zero frames.</summary>
    public static MemoryLeaf OfZeros() => new(new uint[Pages]);

    /// <summary>One more owner.</summary>
    public MemoryLeaf Share()
    {
        Interlocked.Increment(ref _owners);
        return this;
    }

    /// <summary>A leaf of the same frames for one owner, who leaves this one.</summary>
    public MemoryLeaf Part(FramePool pool)
    {
        var copy = new MemoryLeaf((uint[])Frames.Clone());
        pool.AddReferences(copy.Frames);
        Release(pool);
        return copy;
    }

    /// <summary>One owner less; the last one's leaving releases the frames.</summary>
    public void Release(FramePool pool)
    {
        if (Interlocked.Decrement(ref _owners) == 0) pool.Release(Frames);
    }
}
