using System.Runtime.InteropServices;

namespace VmLab.Core;

/// <summary>
/// Machine memory: 4 KiB frames, reference-counted, in slabs of unmanaged memory, for all machines of a process.
/// </summary>
/// <remarks>
/// Frame 0 is the zero frame: shared by every page that nobody has written, and never written itself. A frame with
/// more than one
/// reference is shared copy-on-write. Thread-safe; the bytes of a frame belong to whoever holds its only reference.
/// </remarks>
public sealed unsafe class FramePool : IDisposable
{
    public const int FrameSize = 4096, FrameShift = 12;

    const int SlabShift = 12, FramesPerSlab = 1 << SlabShift, MaxSlabs = 1 << 16;
    const nuint SlabAlignment = 2 << 20;

    readonly Lock _lock = new();
    readonly nint[] _slabs = new nint[MaxSlabs];
    readonly int[]?[] _references = new int[MaxSlabs][];
    readonly Stack<uint> _free = new();
    readonly ByteSize _limit;
    int _slabCount;
    uint _next = 1;
    bool _isDisposed;

    /// <param name="limit">The most memory that frames may take.</param>
    public FramePool(ByteSize limit)
    {
        _limit = limit;
        AddSlab();
        new Span<byte>(Pointer(0), FrameSize).Clear();
    }

    ~FramePool() => Free();

    /// <summary>Frames in use, the zero frame not counted.</summary>
    public uint FramesInUse { get; private set; }

    /// <summary>
    /// Address of a frame's first byte. The caller holds a reference, and writes only if it holds the only one.
    /// </summary>
    // SAFETY: a slab never moves and lives as long as the pool; a frame number comes from Take.
    public byte* Pointer(uint frame) =>
        (byte*)_slabs[frame >> SlabShift] + ((nuint)(frame & (FramesPerSlab - 1)) << FrameShift);

    /// <summary>Takes a frame with one reference, its bytes undefined.</summary>
    /// <exception cref="LabException">The limit is reached.</exception>
    public uint Take()
    {
        lock (_lock)
        {
            if (!_free.TryPop(out uint frame))
            {
                frame = _next;
                if (frame >> SlabShift >= _slabCount) AddSlab();
                _next++;
            }
            References(frame) = 1;
            FramesInUse++;
            return frame;
        }
    }

    /// <summary>Adds a reference to each of these frames.</summary>
    public void AddReferences(ReadOnlySpan<uint> frames)
    {
        lock (_lock)
            foreach (uint frame in frames)
                if (frame != 0) References(frame)++;
    }

    public void Release(uint frame) => Release([frame]);

    /// <summary>Takes a reference from each of these frames; those without any are free again.</summary>
    public void Release(ReadOnlySpan<uint> frames)
    {
        lock (_lock)
            foreach (uint frame in frames)
            {
                if (frame == 0 || --References(frame) != 0) continue;
                _free.Push(frame);
                FramesInUse--;
            }
    }

    public bool IsShared(uint frame)
    {
        if (frame == 0) return true;
        lock (_lock) return References(frame) > 1;
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    ref int References(uint frame) => ref _references[frame >> SlabShift]![frame & (FramesPerSlab - 1)];

    void AddSlab()
    {
        ulong taken = (ulong)_slabCount << (SlabShift + FrameShift);
        if (_slabCount == MaxSlabs || taken >= _limit.Bytes)
            throw new LabException(
                $"Guest memory has reached its limit of {_limit}. Use fewer or smaller machines, or raise the lab's limit.");
        _slabs[_slabCount] = (nint)NativeMemory.AlignedAlloc((nuint)FramesPerSlab << FrameShift, SlabAlignment);
        _references[_slabCount] = new int[FramesPerSlab];
        _slabCount++;
    }

    void Free()
    {
        if (_isDisposed) return;
        _isDisposed = true;
        for (int slab = 0; slab < _slabCount; slab++) NativeMemory.AlignedFree((void*)_slabs[slab]);
    }
}
