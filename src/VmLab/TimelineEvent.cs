using System.Globalization;

namespace VmLab;

/// <summary>
/// Something that happened in a lab: when, to which machine (<see langword="null"/>: to the lab), and what.
/// </summary>
/// <param name="Time">Guest time since the lab's start.</param>
public sealed record TimelineEvent(TimeSpan Time, string? Machine, string What)
{
    /// <summary><c>   1.234567 s  alice   powered off</c></summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Time.TotalSeconds,11:0.000000} s  {Machine ?? "lab",-8}  {What}");
}
