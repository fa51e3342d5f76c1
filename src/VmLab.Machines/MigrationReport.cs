using System.Collections.Immutable;
using System.Globalization;
using System.Text;

namespace VmLab;

/// <summary>How a migration ended.</summary>
public enum MigrationOutcome
{
    /// <summary>The machine runs at the destination.</summary>
    Completed,

    /// <summary>The destination would not have it; it runs on at the source.</summary>
    Refused,

    /// <summary>It dirties faster than can be copied within the downtime; it runs on at the source.</summary>
    NotConverged,

    /// <summary>Something broke on the way; it runs on at the source.</summary>
    Failed,

    /// <summary>Post-copy broke: neither side has all of the machine, and it stands still for good.</summary>
    Lost,
}

/// <summary>One round of copying.</summary>
/// <param name="Pages">How many were copied, of memory and disks, those of zeros among them.</param>
/// <param name="Bytes">What that took on the wire.</param>
/// <param name="Dirtied">Pages that the machine wrote meanwhile.</param>
/// <param name="Start">Since the migration's beginning.</param>
/// <param name="Throttle">What part of the time the processor was kept from the machine, in percent.</param>
public sealed record MigrationRound(int Pages, long Bytes, int Dirtied, TimeSpan Start, TimeSpan Time, int Throttle);

/// <summary>What came of a migration.</summary>
/// <param name="Reason">Why it was not completed; else empty.</param>
/// <param name="Downtime">How long the machine ran nowhere.</param>
/// <param name="Bytes">Sent by the source, all told.</param>
/// <param name="Demanded">Pages that the machine touched at the destination before they had come.</param>
public sealed record MigrationReport(
    string Machine, string From, string To, MigrationMode Mode, MigrationOutcome Outcome, string Reason, TimeSpan Total, TimeSpan Downtime,
    long Bytes, int Demanded, ImmutableArray<MigrationRound> Rounds)
{
    /// <summary>The most of the processor's time that was kept from the machine, in percent.</summary>
    public int Throttle => Rounds.Select(round => round.Throttle).DefaultIfEmpty().Max();

    /// <summary>A table: a line a round.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{Machine}: {From} -> {To}, {Mode}: {Outcome}");
        if (Reason.Length > 0) text.Append(CultureInfo.InvariantCulture, $" ({Reason})");
        text.AppendLine().Append(CultureInfo.InvariantCulture,
            $"total {Milliseconds(Total)} ms, downtime {Milliseconds(Downtime)} ms, {Bytes / 1048576.0:0.00} MiB sent");
        if (Demanded > 0) text.Append(CultureInfo.InvariantCulture, $", {Demanded} pages on demand");
        text.AppendLine().Append("round   pages sent   MiB sent   pages dirtied    time ms   throttle");
        for (int i = 0; i < Rounds.Length; i++)
        {
            MigrationRound round = Rounds[i];
            text.AppendLine().Append(CultureInfo.InvariantCulture,
                $"{i,5} {round.Pages,12} {round.Bytes / 1048576.0,10:0.00} {round.Dirtied,15} {Milliseconds(round.Time),10} {round.Throttle,8} %");
        }
        return text.ToString();
    }

    public bool Equals(MigrationReport? other) => other is not null && ToString() == other.ToString();

    public override int GetHashCode() => HashCode.Combine(Machine, Outcome, Total, Bytes);

    static string Milliseconds(TimeSpan time) => time.TotalMilliseconds.ToString("0.000", CultureInfo.InvariantCulture);
}
