namespace VmLab.Devices.Storage.Qcow;

/// <summary>Checks the tables of a qcow2 file: every cluster lies in the file, serves one purpose, and is counted.</summary>
/// <remarks>
/// Cost: as many steps as clusters are mapped. Clusters that are counted and not used are a leak, which harms nobody. A file
/// that was not closed may have counts that are too low, and says so. Source: QEMU, docs/interop/qcow2.txt.
/// </remarks>
sealed class QcowCheck(
    QcowHeader header, ulong length, Func<string, string, DamagedImageException> refuse, Func<ulong, ulong, ulong[]> readTable)
{
    /// <summary>The most internal snapshots that a file may have.</summary>
    public const uint MostSnapshots = 256;

    const ulong Copied = 1UL << 63, MostSnapshotBytes = 1 << 20, SnapshotWords = 5;

    readonly Dictionary<ulong, ulong> _uses = [];
    readonly Dictionary<ulong, bool> _isCopied = [];   // clusters whose entry says whether they are counted once

    /// <param name="tables">The first-level table.</param>
    /// <param name="entries">Is given each second-level table, by where it lies.</param>
    public void Run(ulong[] tables, Dictionary<ulong, ulong[]> entries)
    {
        UseRange(0, 1);
        UseRange(header.L1Offset, tables.Length * 8);
        UseRange(header.RefcountOffset, header.RefcountClusters * (long)header.ClusterSize);
        UseTables(tables, entries, isShared: false);
        if (header.SnapshotsOffset != 0 || header.Snapshots > 0) UseSnapshots();
        CheckCounts();
    }

    /// <summary>Where a compressed cluster is: first byte, and the most bytes that it may have.</summary>
    public static (ulong At, ulong Length) CompressedRange(ulong entry, int clusterBits)
    {
        int split = 62 - (clusterBits - 8);
        ulong at = entry & (1UL << split) - 1, sectors = (entry & (1UL << 62) - 1) >> split;
        return (at, (sectors + 1) * 512 - at % 512);
    }

    /// <param name="entries">Is given each second-level table, by where it lies.</param>
    /// <param name="isShared">Of a snapshot, which others may share its clusters with.</param>
    void UseTables(ulong[] tables, Dictionary<ulong, ulong[]> entries, bool isShared)
    {
        foreach (ulong entry in tables)
        {
            if (QcowImage.HasReservedBits(entry)) throw refuse("reserved bits in a first-level table", $"An entry is 0x{entry:x}.");
            ulong table = QcowImage.AddressOf(entry);
            if (table == 0) CheckUnflagged(entry);
            if (table == 0) continue;
            if (table % header.ClusterSize != 0) throw refuse("a second-level table is not aligned", $"It is said to be at byte {table}.");
            ulong[] clusters = readTable(table, header.ClusterSize / 8);
            if (!entries.TryAdd(table, clusters)) throw refuse("a second-level table is used twice", $"It is at byte {table}.");
            UseOwn(table, entry, isShared);
            foreach (ulong cluster in clusters) UseCluster(cluster, isShared);
        }
    }

    // A snapshot: five numbers, of which the first is where its first-level table is, then extra data, identifier and name.
    void UseSnapshots()
    {
        ulong at = header.SnapshotsOffset, count = 0;   // the last may end without padding
        ulong[] words = readTable(at, Math.Min(length - Math.Min(at, length), MostSnapshotBytes) / 8);
        for (uint i = 0; i < header.Snapshots; i++)
        {
            ulong next = (count + 7) / 8;
            if (next + SnapshotWords > (ulong)words.Length) throw refuse("a snapshot lies outside the file", $"It is number {i + 1}.");
            ulong table = words[next], sizes = words[next + 1];
            UseRange(table, (long)(sizes >> 32) * 8);
            UseTables(readTable(table, sizes >> 32), [], isShared: true);
            count = (next + SnapshotWords) * 8 + (uint)words[next + 4] + (sizes >> 16 & 0xFFFF) + (sizes & 0xFFFF);
        }
        UseRange(at, (long)count);
    }

    void UseCluster(ulong entry, bool isShared)
    {
        if (QcowImage.IsCompressed(entry))
        {
            CheckUnflagged(entry);
            (ulong at, ulong count) = CompressedRange(entry, header.ClusterBits);
            if (at == 0 || at >= length) throw refuse("a compressed cluster lies outside the file", $"It is said to be at byte {at}.");
            ulong last = Math.Min(at + count, length) - 1;
            for (ulong cluster = at / header.ClusterSize; cluster <= last / header.ClusterSize; cluster++) Use(cluster);
            return;
        }
        if (QcowImage.HasReservedClusterBits(entry, header.Version))
            throw refuse("reserved bits in a second-level table", $"An entry is 0x{entry:x}.");
        ulong address = QcowImage.AddressOf(entry);
        if (address == 0) CheckUnflagged(entry);
        if (address == 0) return;
        if (address % header.ClusterSize != 0) throw refuse("a cluster is not aligned", $"It is said to be at byte {address}.");
        // The file may end inside its last cluster, though not before it.
        if (address >= length) throw refuse("a cluster lies outside the file", $"It is said to be at byte {address}.");
        UseOwn(address, entry, isShared);
    }

    /// <summary>Notes the cluster that an entry leads to; of the present state, it leads nowhere else.</summary>
    void UseOwn(ulong address, ulong entry, bool isShared)
    {
        bool isFirst = Use(address / header.ClusterSize);
        if (isShared) return;
        if (!isFirst) throw refuse("a cluster is used twice", $"It is at byte {address}.");
        _isCopied[address / header.ClusterSize] = (entry & Copied) != 0;
    }

    // Only what has a cluster of its own may say that it is counted once.
    void CheckUnflagged(ulong entry)
    {
        if ((entry & Copied) != 0) throw refuse("an entry without a cluster of its own is flagged", $"It is 0x{entry:x}.");
    }

    void UseRange(ulong at, long count)
    {
        if (at % header.ClusterSize != 0 || at > length || (ulong)count > length - at)
            throw refuse("a table lies outside the file", $"It is said to be at byte {at}.");
        for (ulong cluster = at / header.ClusterSize; cluster * header.ClusterSize < at + (ulong)count; cluster++)
            if (!Use(cluster)) throw refuse("a cluster is used twice", $"It is at byte {cluster * header.ClusterSize}.");
    }

    /// <returns>Whether nobody used it before.</returns>
    bool Use(ulong cluster)
    {
        _uses[cluster] = _uses.GetValueOrDefault(cluster) + 1;
        return _uses[cluster] == 1;
    }

    void CheckCounts()
    {
        ulong[] blocks = readTable(header.RefcountOffset, header.RefcountClusters * header.ClusterSize / 8);
        foreach (ulong block in blocks)
        {
            if ((block & 511) != 0) throw refuse("reserved bits in the reference count table", $"An entry is 0x{block:x}.");
            if (block != 0) UseRange(block, (long)header.ClusterSize);
        }
        if (header.IsDirty) return;
        ulong perBlock = header.ClusterSize * 8 >> header.RefcountOrder, loaded = ulong.MaxValue;
        ulong[] counts = [];
        foreach ((ulong cluster, ulong uses) in _uses.OrderBy(use => use.Key))
        {
            ulong index = cluster / perBlock;
            if (index != loaded)
            {
                ulong block = index < (ulong)blocks.Length ? blocks[index] : 0;
                counts = block == 0 ? [] : readTable(block, header.ClusterSize / 8);
                loaded = index;
            }
            ulong count = counts.Length == 0 ? 0 : CountOf(counts, (int)(cluster % perBlock));
            string what = $"The cluster at byte {cluster * header.ClusterSize} is used {uses} times, and counted {count}.";
            if (count < uses) throw refuse("a cluster's reference count is too low", what);
            if (_isCopied.TryGetValue(cluster, out bool isCopied) && isCopied != (count == 1))
                throw refuse("a cluster's reference count does not fit its flag", what);
        }
    }

    ulong CountOf(ulong[] counts, int index)
    {
        int width = 1 << header.RefcountOrder, perWord = 64 / width;
        ulong word = counts[index / perWord];
        if (width == 64) return word;
        // Counts of whole bytes are big-endian; smaller ones fill each byte from its least significant bit.
        int shift = width >= 8
            ? 64 - width * (index % perWord + 1)
            : 56 - 8 * (index % perWord * width / 8) + index * width % 8;
        return word >> shift & (1UL << width) - 1;
    }
}
