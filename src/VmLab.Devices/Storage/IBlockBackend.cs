namespace VmLab.Devices.Storage;

/// <summary>What lies behind a block device: sectors of 512 bytes, and perhaps a volatile cache.</summary>
/// <remarks>The range of every call lies inside the <see cref="Sectors"/>.</remarks>
public interface IBlockBackend
{
    const int SectorSize = 512;

    ulong Sectors { get; }

    bool IsReadOnly { get; }

    /// <summary>Says what is about to be done; the calls that follow, up to the next of these, do it.</summary>
    void Begin(DiskRequest request)
    {
    }

    /// <summary>What a request takes over its usual time, in nanoseconds.</summary>
    ulong DelayOf(DiskRequest request) => 0;

    /// <returns><see langword="false"/>: the sectors could not be read.</returns>
    bool Read(ulong sector, Span<byte> bytes);

    /// <returns><see langword="false"/>: the sectors could not be written.</returns>
    bool Write(ulong sector, ReadOnlySpan<byte> bytes);

    /// <summary>Makes sectors read as zeros.</summary>
    /// <returns><see langword="false"/>: they could not be written.</returns>
    bool Zero(ulong sector, ulong count);

    /// <summary>Makes all that was written so far survive a loss of power.</summary>
    /// <returns><see langword="false"/>: that could not be done.</returns>
    bool Flush();
}

/// <summary>Kinds of requests to a disk; discards and writes of zeros are writes.</summary>
[Flags]
public enum DiskOperations : byte
{
    None = 0, Reads = 1, Writes = 2, Flushes = 4, All = Reads | Writes | Flushes,
}

/// <summary>A request to a disk.</summary>
/// <param name="Operation">One kind.</param>
/// <param name="Count">In sectors; a flush has none.</param>
public readonly record struct DiskRequest(DiskOperations Operation, ulong Sector, ulong Count);
