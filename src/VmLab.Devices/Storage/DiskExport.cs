using VmLab.Devices.Storage.Qcow;

namespace VmLab.Devices.Storage;

/// <summary>Gets a drive's content out, without the guest's doing.</summary>
public static class DiskExport
{
    const ulong ClusterSize = 64 << 10;

    /// <param name="offset">In bytes; the range lies on the drive.</param>
    /// <exception cref="LabException">The image below cannot be read there.</exception>
    public static void Read(DiskDrive drive, ulong offset, Span<byte> bytes)
    {
        const int SectorSize = IBlockBackend.SectorSize;
        ulong first = offset / SectorSize, end = (offset + (ulong)bytes.Length + SectorSize - 1) / SectorSize;
        byte[] sectors = new byte[(end - first) * SectorSize];
        if (!drive.Read(first, sectors)) throw new LabException($"The image below cannot be read at byte {offset}.");
        sectors.AsSpan((int)(offset % SectorSize), bytes.Length).CopyTo(bytes);
    }

    /// <summary>Writes a file that is whole, or not there at all: qcow2 where the name ends so, else raw bytes.</summary>
    /// <exception cref="LabException">It cannot be written, or the image below cannot be read.</exception>
    public static void Write(DiskDrive drive, string path)
    {
        string partial = path + ".partial";
        try
        {
            using (FileStream file = File.Create(partial))
            {
                if (path.EndsWith(".qcow2", StringComparison.OrdinalIgnoreCase))
                    QcowWriter.Write(file, drive.Size.Bytes, Clusters(drive), (offset, bytes) => Read(drive, offset, bytes));
                else WriteRaw(drive, file);
            }
            File.Move(partial, path, overwrite: true);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"The disk cannot be saved as {path}: {failure.Message}", failure);
        }
        finally
        {
            File.Delete(partial);
        }
    }

    // What holds nothing is left out: most file systems make it a hole.
    static void WriteRaw(DiskDrive drive, FileStream file)
    {
        file.SetLength((long)drive.Size.Bytes);
        byte[] cluster = new byte[ClusterSize];
        foreach (ulong number in Clusters(drive))
        {
            Span<byte> bytes = cluster.AsSpan(0, (int)Math.Min(ClusterSize, drive.Size.Bytes - number * ClusterSize));
            Read(drive, number * ClusterSize, bytes);
            if (!bytes.ContainsAnyExcept((byte)0)) continue;
            file.Position = (long)(number * ClusterSize);
            file.Write(bytes);
        }
    }

    /// <summary>The clusters that may hold something: all that lie over an image, of others those that were written.</summary>
    static IEnumerable<ulong> Clusters(DiskDrive drive)
    {
        ulong ofBase = (Math.Min(drive.BaseSize.Bytes, drive.Size.Bytes) + ClusterSize - 1) / ClusterSize;
        for (ulong number = 0; number < ofBase; number++) yield return number;
        ulong last = ulong.MaxValue;
        foreach (ulong chunk in drive.Written)
        {
            ulong number = chunk * SparseImage.ChunkSize / ClusterSize;
            if (number == last || number < ofBase) continue;
            yield return last = number;
        }
    }
}
