using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Devices.Storage;

namespace VmLab.Machines.Migrating;

/// <summary>A machine that arrives, page by page.</summary>
sealed class MachineCopy : IDisposable
{
    readonly GuestMemory _memory;
    readonly ImmutableArray<DiskSpec> _disks;
    readonly ImmutableArray<SparseImage> _images;

    public MachineCopy(FramePool pool, MigrationOffer offer)
    {
        _memory = new GuestMemory(pool, offer.Memory);
        _disks = [.. offer.Devices.OfType<DiskSpec>()];
        _images = [.. _disks.Select(disk => new SparseImage(disk.Size))];
    }

    public bool IsMemory(ulong page) => _memory.IsRam(page);

    /// <exception cref="MigrationException">The machine has no such page.</exception>
    public void Take(int space, uint page, ReadOnlySpan<byte> bytes)
    {
        if (space > _images.Length) throw new MigrationException($"The machine has no disk {space}.");
        if (space > 0) WriteChunk(_images[space - 1], page, bytes);
        else if (!_memory.IsRam(page)) throw new MigrationException($"The machine has no page {page:x} of memory.");
        else _memory.Fill(page, bytes);
    }

    /// <summary>The machine as it stands, with what has come of its pages.</summary>
    /// <exception cref="MigrationException">It is of other disks.</exception>
    public MachineMoment Assemble(MigrationState state)
    {
        if (state.Disks.Length != _images.Length) throw new MigrationException($"The machine has {_images.Length} disks, not {state.Disks.Length}.");
        DiskMoment[] disks = [.. _images.Select((image, i) => Assemble(image, state.Disks[i]))];
        return new MachineMoment(_memory.Snapshot(), state.Machine, state.Devices, disks);
    }

    public void Dispose() => _memory.Dispose();

    DiskMoment Assemble(SparseImage image, DiskRest rest)
    {
        var durable = new SparseImage(image.Size);
        SparseImage.Moment current = image.Snapshot();
        durable.Restore(current);
        foreach (DiskRest.Chunk chunk in rest.Durable) WriteChunk(durable, chunk.Number, chunk.Bytes.AsSpan());
        ulong sectors = image.Size.Bytes / IBlockBackend.SectorSize;
        foreach (DiskWrite write in rest.Unflushed)
            if (write.Count > sectors || write.Sector > sectors - write.Count
                || !write.Bytes.IsEmpty && (ulong)write.Bytes.Length != write.Count * IBlockBackend.SectorSize)
                throw new MigrationException($"A write of {write.Count} sectors at {write.Sector} cannot wait for a disk of {sectors}.");
        return new DiskMoment(current, durable.Snapshot(), rest.Unflushed);
    }

    static void WriteChunk(SparseImage image, ulong chunk, ReadOnlySpan<byte> bytes)
    {
        ulong last = (image.Size.Bytes - 1) / SparseImage.ChunkSize;
        if (chunk > last || bytes.Length is not (0 or SparseImage.ChunkSize))
            throw new MigrationException($"A disk of {image.Size} has no chunk {chunk} of {bytes.Length} bytes.");
        if (bytes.IsEmpty) image.Forget(chunk);
        else image.Write(chunk * SparseImage.ChunkSize, bytes);
    }
}
