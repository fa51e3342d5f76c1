namespace VmLab;

/// <summary>How a command in a guest ended.</summary>
public enum ShellOutcome
{
    /// <summary>It ended by itself, with an exit code.</summary>
    Exited,

    /// <summary>It reached its limit in guest time, and was killed.</summary>
    TimedOut,

    /// <summary>The machine was powered off or reset under it.</summary>
    PowerLost,

    /// <summary>The guest's kernel panicked under it.</summary>
    Panicked,
}

/// <summary>What came of a command in a guest.</summary>
/// <param name="Output">What it wrote to its standard output, to the last byte that arrived; UTF-8.</param>
/// <param name="Error">What it wrote to its standard error.</param>
/// <param name="ExitCode">128 and the signal's number for a command that a signal ended; -1 for one that did not end by
/// itself.</param>
public sealed record ShellResult(string Command, string Output, string Error, int ExitCode, ShellOutcome Outcome)
{
    public bool Succeeded => Outcome == ShellOutcome.Exited && ExitCode == 0;

    /// <summary><c>exit code 1</c>, or what kept the command from one.</summary>
    public string Ending => Outcome switch
    {
        ShellOutcome.Exited => $"exit code {ExitCode}",
        ShellOutcome.TimedOut => "no end within its limit in guest time",
        ShellOutcome.PowerLost => "no end: the machine lost power",
        _ => "no end: the guest's kernel panicked",
    };

    public override string ToString() => $"`{Command}`: {Ending}";
}
