namespace VmLab;

/// <summary>How a run ended, for its report.</summary>
/// <param name="Message">What failed, or what else is to be said; empty for nothing.</param>
public sealed record RunOutcome(bool IsPassed, string Message = "")
{
    public static RunOutcome Passed { get; } = new(true);

    public static RunOutcome Failed(string message) => new(false, message);
}
