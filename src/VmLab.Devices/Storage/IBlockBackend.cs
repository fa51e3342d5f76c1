namespace VmLab.Devices.Storage;

/// <summary>What lies behind a block device: sectors of 512 bytes, and perhaps a volatile cache.</summary>
/// <remarks>The range of every call lies inside the <see cref="Sectors"/>.</remarks>
public interface IBlockBackend
{
    const int SectorSize = 512;

    ulong Sectors { get; }

    bool IsReadOnly { get; }

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
