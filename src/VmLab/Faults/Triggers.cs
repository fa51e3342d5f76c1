namespace VmLab.Faults;

/// <summary>The moment of the injection.</summary>
public sealed record OnceInjected : Trigger;

/// <summary>A guest time since the lab's start.</summary>
public sealed record AtTime(TimeSpan Time) : Trigger;

/// <summary>A text on a machine's console, after the injection.</summary>
/// <param name="Count">Which occurrence, from 1.</param>
public sealed record ConsoleShows(string Machine, string Text, int Count = 1) : Trigger
{
    /// <summary>The n-th occurrence, from 1.</summary>
    public ConsoleShows Nth(int count) => this with { Count = Core.Require.InRange(count, 1, int.MaxValue) };
}
