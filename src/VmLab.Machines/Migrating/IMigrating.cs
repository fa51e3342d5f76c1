using System.Collections.Immutable;
using VmLab.Core;

namespace VmLab.Machines.Migrating;

/// <summary>What a migration does with the machine that goes.</summary>
interface IDeparting
{
    /// <summary>Time by which downtime is measured, in nanoseconds.</summary>
    ulong Now { get; }

    /// <summary>Whether the destination's time is the same.</summary>
    bool SharesClock { get; }

    MigrationOffer Offer { get; }

    /// <summary>What is told beside the machine when it goes.</summary>
    ImmutableArray<byte> Luggage { get; }

    /// <summary>Takes a moment, which the migration disposes of.</summary>
    MachineMoment Snapshot();

    /// <summary>The machine stands still from now on.</summary>
    void Freeze();

    /// <summary>The machine runs on here.</summary>
    void Thaw();

    /// <summary>Keeps the processor from the machine for a part of the time.</summary>
    void Throttle(int percent);
}

/// <summary>What a migration does with the machine that comes.</summary>
interface IArriving
{
    /// <inheritdoc cref="IDeparting.Now"/>
    ulong Now { get; }

    /// <summary>Where its memory is to be.</summary>
    FramePool Pool { get; }

    /// <summary>Why the machine may not come; <see langword="null"/> where it may.</summary>
    string? WhyRefused(MigrationOffer offer);

    /// <summary>Makes a machine of it that could run.</summary>
    /// <param name="missing">Pages of memory that come later.</param>
    /// <exception cref="LabException">There can be no such machine.</exception>
    void Prepare(MigrationOffer offer, MachineMoment moment, IReadOnlyList<uint> missing, ImmutableArray<byte> luggage);

    /// <summary>The machine that was made will not run.</summary>
    void Discard();

    /// <summary>The machine runs here from now on.</summary>
    void Run();

    /// <summary>A page of the machine that runs has come.</summary>
    void Fill(uint page, ReadOnlySpan<byte> bytes);

    /// <summary>The migration broke while pages of the machine that runs were missing.</summary>
    void Lose();

    /// <summary>Nothing of the machine is missing any more.</summary>
    void Complete();
}
