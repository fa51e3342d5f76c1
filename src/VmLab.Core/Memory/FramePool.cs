using System.Numerics;
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
    readonly Stack<uint> _free = new();
    readonly List<(int FirstSlab, int Slabs, IDisposable File)> _mapped = [];
    readonly ByteSize _limit;
    nint[] _slabs = [];   // grows by a copy: who holds a frame finds its slab in any array that came with it or later
    int[]?[] _references = [];
    int _slabCount, _ownSlabs;
    uint _next, _end;   // of the slab that frames are taken from
    bool _isDisposed;

    /// <param name="limit">The most memory that frames may take.</param>
    public FramePool(ByteSize limit)
    {
        _limit = limit;
        AddSlab();
        _next++;
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
                if (_next == _end) AddSlab();
                frame = _next++;
            }
            References(frame) = 1;
            FramesInUse++;
            return frame;
        }
    }

    /// <summary>Makes frames of memory that is only read; each has one reference for good, so that a store takes a copy.</summary>
    /// <param name="pages">Page-aligned; good until the pool disposes of <paramref name="file"/>, at its own end.</param>
    /// <returns>The first frame's number; the others follow it.</returns>
    internal uint Map(byte* pages, int count, IDisposable file)
    {
        lock (_lock)
        {
            int first = _slabCount, slabs = (count + FramesPerSlab - 1) >> SlabShift;
            if (first + slabs > MaxSlabs) throw new LabException("The moment has more pages than guest memory may have.");
            Reserve(first + slabs);
            for (int i = 0; i < slabs; i++)
            {
                _slabs[first + i] = (nint)(pages + ((long)i << (SlabShift + FrameShift)));
                _references[first + i] = new int[FramesPerSlab];
                Array.Fill(_references[first + i]!, 1);
            }
            _slabCount += slabs;
            _mapped.Add((first, slabs, file));
            return (uint)first << SlabShift;
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
        ulong taken = (ulong)_ownSlabs << (SlabShift + FrameShift);
        if (_slabCount == MaxSlabs || taken >= _limit.Bytes)
            throw new LabException(
                $"Guest memory has reached its limit of {_limit}. Use fewer or smaller machines, or raise the lab's limit.");
        Reserve(_slabCount + 1);
        _slabs[_slabCount] = (nint)NativeMemory.AlignedAlloc((nuint)FramesPerSlab << FrameShift, SlabAlignment);
        _references[_slabCount] = new int[FramesPerSlab];
        _next = (uint)_slabCount << SlabShift;
        _end = _next + FramesPerSlab;
        _slabCount++;
        _ownSlabs++;
    }

    void Reserve(int slabs)
    {
        if (slabs <= _slabs.Length) return;
        int size = (int)BitOperations.RoundUpToPowerOf2((uint)slabs);
        Array.Resize(ref _references, size);
        Array.Resize(ref _slabs, size);
    }

    void Free()
    {
        if (_isDisposed) return;
        _isDisposed = true;
        foreach (var (first, slabs, file) in _mapped)
        {
            _slabs.AsSpan(first, slabs).Clear();
            file.Dispose();
        }
        for (int slab = 0; slab < _slabCount; slab++) NativeMemory.AlignedFree((void*)_slabs[slab]);
    }
}
