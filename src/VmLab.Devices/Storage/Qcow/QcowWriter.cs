using System.Buffers.Binary;

namespace VmLab.Devices.Storage.Qcow;

/// <summary>Writes a disk's content as a new qcow2 file of version 3: clusters of 64 KiB, of which those of zeros are left out.</summary>
static class QcowWriter
{
    const int ClusterBits = 16, RefcountOrder = 4;
    const ulong ClusterSize = 1UL << ClusterBits, EntriesPerTable = ClusterSize / 8, CountsPerBlock = ClusterSize * 8 >> RefcountOrder,
                Copied = 1UL << 63;

    /// <param name="written">The clusters that may hold something, by number, in their order.</param>
    /// <param name="read">Reads the disk at an offset; never beyond its size.</param>
    public static void Write(Stream file, ulong size, IEnumerable<ulong> written, DiskReader read)
    {
        ulong tables = (size + ClusterSize * EntriesPerTable - 1) / (ClusterSize * EntriesPerTable);
        ulong l1Clusters = Clusters(tables * 8);
        // The first-level table has a place of its own, then all others come in the order of the disk.
        var l1 = new ulong[tables];
        var l2 = new SortedDictionary<ulong, ulong[]>();
        ulong next = 1 + l1Clusters;
        byte[] cluster = new byte[ClusterSize];
        foreach (ulong number in written)
        {
            cluster.AsSpan().Clear();
            read(number * ClusterSize, cluster.AsSpan(0, (int)Math.Min(ClusterSize, size - number * ClusterSize)));
            if (!cluster.AsSpan().ContainsAnyExcept((byte)0)) continue;
            if (!l2.TryGetValue(number / EntriesPerTable, out ulong[]? table))
            {
                l2[number / EntriesPerTable] = table = new ulong[EntriesPerTable];
                l1[number / EntriesPerTable] = next++ * ClusterSize | Copied;
            }
            table[number % EntriesPerTable] = next * ClusterSize | Copied;
            file.Position = (long)(next++ * ClusterSize);
            file.Write(cluster);
        }
        foreach ((ulong index, ulong[] table) in l2) WriteTable(file, l1[index] & ~Copied, table);
        WriteTable(file, ClusterSize, l1);
        (ulong refcountAt, ulong refcountClusters) = WriteCounts(file, next);
        new QcowHeader
        {
            ClusterBits = ClusterBits, Size = size, L1Entries = (uint)tables, L1Offset = ClusterSize,
            RefcountOffset = refcountAt, RefcountClusters = (uint)refcountClusters, RefcountOrder = RefcountOrder,
        }.Write(cluster);
        file.Position = 0;
        file.Write(cluster.AsSpan(0, QcowHeader.LongestLength));
    }

    /// <summary>Counts every cluster of the file once, those of the counts included.</summary>
    static (ulong At, ulong Clusters) WriteCounts(Stream file, ulong used)
    {
        ulong blocks = 0, tableClusters = 0, total = used;
        while (true)
        {
            ulong needed = (total + CountsPerBlock - 1) / CountsPerBlock, table = Clusters(needed * 8);
            if (needed == blocks && table == tableClusters) break;
            (blocks, tableClusters, total) = (needed, table, used + needed + table);
        }
        ulong[] addresses = new ulong[tableClusters * EntriesPerTable];
        byte[] block = new byte[ClusterSize];
        for (ulong i = 0; i < blocks; i++)
        {
            addresses[i] = (used + tableClusters + i) * ClusterSize;
            block.AsSpan().Clear();
            for (ulong j = 0; j < CountsPerBlock && i * CountsPerBlock + j < total; j++) block[2 * j + 1] = 1;
            file.Position = (long)addresses[i];
            file.Write(block);
        }
        WriteTable(file, used * ClusterSize, addresses);
        return (used * ClusterSize, tableClusters);
    }

    static void WriteTable(Stream file, ulong at, ulong[] entries)
    {
        byte[] bytes = new byte[Clusters((ulong)entries.Length * 8) * ClusterSize];
        for (int i = 0; i < entries.Length; i++) BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(8 * i), entries[i]);
        file.Position = (long)at;
        file.Write(bytes);
    }

    static ulong Clusters(ulong bytes) => (bytes + ClusterSize - 1) / ClusterSize;
}

/// <summary>Reads bytes of a disk.</summary>
delegate void DiskReader(ulong offset, Span<byte> bytes);
