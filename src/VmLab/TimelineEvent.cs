using System.Globalization;

namespace VmLab;

/// <summary>
/// Something that happened in a lab: when, to which machine (<see langword="null"/>: to the lab), and what.
/// </summary>
/// <param name="Time">Guest time since the lab's start.</param>
public sealed record TimelineEvent(TimeSpan Time, string? Machine, string What, EventKind Kind = EventKind.Note)
{
    /// <summary>Number of the command that it is the beginning or the end of; else 0.</summary>
    internal uint Task { get; init; }

    /// <summary>Which branch of the lab's record it lies in.</summary>
    internal int Branch { get; init; }

    /// <summary><c>   1.234567 s  alice   powered off</c></summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Time.TotalSeconds,11:0.000000} s  {Machine ?? "lab",-8}  {What}");
}
