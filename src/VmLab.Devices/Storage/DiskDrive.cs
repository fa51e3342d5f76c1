using System.Collections.Immutable;
using VmLab.Core;

namespace VmLab.Devices.Storage;

/// <summary>A drive with a volatile write cache: what was written is read back at once, and durable once flushed.</summary>
/// <remarks>
/// The cache holds writes in their order, up to 16 MiB; beyond that, the oldest become durable by themselves, as a
/// drive writes them back. What a loss of power leaves is up to <see cref="LosePower"/>.
/// </remarks>
public sealed class DiskDrive : IBlockBackend
{
    const int SectorSize = IBlockBackend.SectorSize;
    const ulong MostUnflushedBytes = 16 << 20;
    const int MostUnflushed = 16_384;
    const ulong BlockSectors = 8;

    readonly SparseImage _current, _durable;
    readonly Queue<DiskWrite> _unflushed = new();
    ulong _unflushedBytes;
    Rng? _powerLoss;    // what decides about the write that was under way when the power went

    /// <param name="size">A whole number of sectors.</param>
    /// <param name="below">What the drive holds at first; <see langword="null"/> for zeros.</param>
    public DiskDrive(ByteSize size, IImageBase? below = null, bool isReadOnly = false)
    {
        if (size.Bytes == 0 || size.Bytes % SectorSize != 0)
            throw new LabException($"A disk of {size.Bytes} bytes is no whole number of {SectorSize}-byte sectors.");
        IsReadOnly = isReadOnly;
        BaseSize = below?.Size ?? default;
        _current = new SparseImage(size, below);
        _durable = new SparseImage(size, below);
    }

    public ByteSize Size => _current.Size;

    public ulong Sectors => Size.Bytes / SectorSize;

    public bool IsReadOnly { get; }

    /// <summary>Of the image below.</summary>
    public ByteSize BaseSize { get; }

    /// <summary>Writes that a loss of power may undo.</summary>
    public int UnflushedWrites => _unflushed.Count;

    public bool Read(ulong sector, Span<byte> bytes)
    {
        try
        {
            _current.Read(sector * SectorSize, bytes);
            return true;
        }
        catch (DamagedImageException)
        {
            return false;   // as a medium that cannot be read: the guest is told
        }
    }

    public bool Write(ulong sector, ReadOnlySpan<byte> bytes) =>
        Keep(new DiskWrite(sector, (ulong)bytes.Length / SectorSize, [.. bytes]));

    public bool Zero(ulong sector, ulong count) => Keep(new DiskWrite(sector, count, []));

    public bool Flush()
    {
        if (_powerLoss is not null) return false;
        if (_unflushed.Count > 0) MakeDurable();
        return true;
    }

    /// <summary>
    /// A flush of a drive that reorders across it: some of the 4 KiB blocks that were written since stay in the cache.
    /// </summary>
    public void FlushSome(Rng random)
    {
        ulong key = random.Next();
        DiskWrite[] writes = [.. _unflushed];
        _unflushed.Clear();
        _unflushedBytes = 0;
        foreach (DiskWrite write in writes)
        {
            for (ulong first = 0; first < write.Count;)
            {
                ulong block = (write.Sector + first) / BlockSectors;
                ulong count = Math.Min(write.Count - first, (block + 1) * BlockSectors - write.Sector - first);
                // All writes to a block stay or go together, and so in their order.
                bool stays = (Rng.FromSeed(key ^ block).Next() & 1) != 0;
                if (stays) Enqueue(write.Part(first, count));
                else write.ApplyTo(_durable, first, count);
                first += count;
            }
        }
    }

    /// <summary>Flips a bit of what is stored, now and for sure.</summary>
    /// <param name="bit">0 to 4095, of the sector.</param>
    public void Rot(ulong sector, int bit)
    {
        byte[] bytes = new byte[SectorSize];
        foreach (SparseImage image in (SparseImage[])[_current, _durable])
        {
            image.Read(sector * SectorSize, bytes);
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
            image.Write(sector * SectorSize, bytes);
        }
    }

    /// <summary>A sector among those that were ever written, or that an image came with; of all, where there are none.</summary>
    public ulong DrawSector(ref Rng random)
    {
        ulong[] chunks = [.. _current.Written];
        if (chunks.Length == 0) return random.NextBelow(Sectors);
        ulong chunk = chunks[random.NextBelow((ulong)chunks.Length)];
        ulong first = chunk * SparseImage.ChunkSize / SectorSize;
        return first + random.NextBelow(Math.Min(SparseImage.ChunkSize / SectorSize, Sectors - first));
    }

    /// <summary>Whether all of the sectors have room already: they were written once, or lie in the image below.</summary>
    public bool HasRoomFor(ulong sector, ulong count) => _current.IsWritten(sector * SectorSize, count * SectorSize);

    /// <summary>
    /// Leaves what was flushed, and of the rest, in an order and to an extent that <paramref name="random"/> decides,
    /// some writes whole, some torn at a sector, some not at all. From then on nothing succeeds; of a write that is under
    /// way, something may be left as well.
    /// </summary>
    public void LosePower(Rng random)
    {
        DiskWrite[] writes = [.. _unflushed];
        if (writes.Length > 0) _current.Restore(_durable.Snapshot());
        for (int i = 0; i < writes.Length; i++)
        {
            int next = i + (int)random.NextBelow((ulong)(writes.Length - i));
            (writes[i], writes[next]) = (writes[next], writes[i]);
            LeaveSome(writes[i], ref random);
        }
        MakeDurable();
        _powerLoss = random;
    }

    /// <summary>The 4 KiB chunks that were written over the image below, by number, in their order.</summary>
    public IEnumerable<ulong> Written => _current.Written;

    /// <summary>Takes a moment: costs a step for each 4 MiB of the disk and each write that was not flushed.</summary>
    public DiskMoment Snapshot() => new(_current.Snapshot(), _durable.Snapshot(), [.. _unflushed]);

    /// <summary>Makes the drive what it was at a moment of one of this size and base.</summary>
    /// <exception cref="LabException">It is the moment of no such drive.</exception>
    public void Restore(DiskMoment moment)
    {
        _current.Restore(moment.Current);
        _durable.Restore(moment.Durable);
        _unflushed.Clear();
        _unflushedBytes = 0;
        _powerLoss = null;
        foreach (DiskWrite write in moment.Unflushed)
        {
            bool isInside = write.Sector < Sectors && write.Count <= Sectors - write.Sector;
            if (!isInside || !write.Bytes.IsEmpty && (ulong)write.Bytes.Length != write.Count * SectorSize)
                throw new LabException("The moment is of a disk whose cache has a write that no such disk takes.");
            Enqueue(write);
        }
    }

    public void AddTo(StateHash hash)
    {
        _current.AddTo(hash);
        _durable.AddTo(hash);
        hash.Add((ulong)_unflushed.Count);
        foreach (DiskWrite write in _unflushed) hash.Add(write.Sector).Add(write.Count).Add(write.Bytes.AsSpan());
    }

    bool Keep(DiskWrite write)
    {
        if (IsReadOnly) return false;
        if (_powerLoss is { } random)
        {
            LeaveSome(write, ref random);
            MakeDurable();
            _powerLoss = random;
            return false;
        }
        try
        {
            write.ApplyTo(_current, 0, write.Count);
        }
        catch (DamagedImageException)
        {
            return false;   // the rest of a chunk could not be read
        }
        Enqueue(write);
        while (_unflushedBytes > MostUnflushedBytes || _unflushed.Count > MostUnflushed)
        {
            DiskWrite oldest = _unflushed.Dequeue();
            _unflushedBytes -= (ulong)oldest.Bytes.Length;
            oldest.ApplyTo(_durable, 0, oldest.Count);
        }
        return true;
    }

    /// <summary>Leaves a write whole, torn or not at all.</summary>
    void LeaveSome(DiskWrite write, ref Rng random)
    {
        ulong choice = random.NextBelow(3);
        if (choice == 0) write.ApplyTo(_current, 0, write.Count);
        else if (choice == 1) write.ApplyTo(_current, 0, random.NextBelow(write.Count));
    }

    void MakeDurable()
    {
        _durable.Restore(_current.Snapshot());
        _unflushed.Clear();
        _unflushedBytes = 0;
    }

    void Enqueue(DiskWrite write)
    {
        _unflushed.Enqueue(write);
        _unflushedBytes += (ulong)write.Bytes.Length;
    }
}

/// <summary>A drive at one moment: immutable.</summary>
/// <param name="Current">What is read from it.</param>
/// <param name="Durable">What it holds for sure.</param>
/// <param name="Unflushed">What leads from one to the other, in the order of the writes.</param>
public sealed record DiskMoment(
    SparseImage.Moment Current, SparseImage.Moment Durable, ImmutableArray<DiskWrite> Unflushed);

/// <summary>A write that lies in a drive's cache.</summary>
/// <param name="Count">In sectors.</param>
/// <param name="Bytes">Empty for zeros.</param>
public sealed record DiskWrite(ulong Sector, ulong Count, ImmutableArray<byte> Bytes)
{
    /// <summary>The write of some of the sectors, counted from the first of this one.</summary>
    internal DiskWrite Part(ulong first, ulong count)
    {
        const int SectorSize = IBlockBackend.SectorSize;
        return new(Sector + first, count, Bytes.IsEmpty ? [] : [.. Bytes.AsSpan((int)first * SectorSize, (int)count * SectorSize)]);
    }

    /// <summary>Writes some of the sectors, counted from the first of this write.</summary>
    internal void ApplyTo(SparseImage image, ulong first, ulong count)
    {
        const int SectorSize = IBlockBackend.SectorSize;
        ulong offset = (Sector + first) * SectorSize;
        if (Bytes.IsEmpty) image.Zero(offset, count * SectorSize);
        else image.Write(offset, Bytes.AsSpan((int)first * SectorSize, (int)count * SectorSize));
    }
}
