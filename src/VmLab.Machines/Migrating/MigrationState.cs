using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Devices.Storage;

namespace VmLab.Machines.Migrating;

/// <summary>A machine but for its pages, and what its keeper tells beside.</summary>
/// <param name="Attempt">Counts the times that the machine was stopped to go.</param>
/// <param name="Missing">Pages of memory that come later, each from its number on so many: post-copy.</param>
[Schema("migration-state", version: 1)]
sealed record MigrationState(
    int Attempt, MachineState Machine, IReadOnlyList<ValueType> Devices, ImmutableArray<DiskRest> Disks, ImmutableArray<PageRun> Missing,
    ImmutableArray<byte> Luggage)
{
    public static MigrationState Of(int attempt, MachineMoment moment, IEnumerable<uint> missing, ImmutableArray<byte> luggage) => new(
        attempt, moment.State, moment.Devices, [.. moment.Disks.Select(DiskRest.Of)], PageRun.Of(missing), luggage);
}

/// <summary>What a disk is beside what is read from it: the writes that are not durable yet, and what is durable instead.</summary>
sealed record DiskRest(ImmutableArray<DiskWrite> Unflushed, ImmutableArray<DiskRest.Chunk> Durable)
{
    /// <summary>A chunk that holds something else when the power is lost.</summary>
    /// <param name="Bytes">None where the image below shows.</param>
    public sealed record Chunk(ulong Number, ImmutableArray<byte> Bytes);

    public static DiskRest Of(DiskMoment disk) => new(disk.Unflushed,
        [.. disk.Durable.ChunksSince(disk.Current).Select(chunk => new Chunk(chunk, [.. disk.Durable.ChunkAt(chunk)]))]);
}

/// <summary>Pages that follow each other.</summary>
sealed record PageRun(uint First, uint Count)
{
    /// <param name="pages">In their order.</param>
    public static ImmutableArray<PageRun> Of(IEnumerable<uint> pages)
    {
        var runs = ImmutableArray.CreateBuilder<PageRun>();
        foreach (uint page in pages)
        {
            if (runs.Count > 0 && runs[^1].First + runs[^1].Count == page) runs[^1] = runs[^1] with { Count = runs[^1].Count + 1 };
            else runs.Add(new PageRun(page, 1));
        }
        return runs.ToImmutable();
    }
}
