using NUnit.Framework.Constraints;
using VmLab.Core;

namespace VmLab.Testing;

/// <summary>
/// Constraints on how a command ended: <c>Assert.That(await lab[vm].Shell("true"), Exits.With(0))</c>.
/// </summary>
public static class Exits
{
    public static ExitConstraint With(int code) => new(code);
}

/// <summary>Succeeds when a command ended by itself with an exit code.</summary>
public sealed class ExitConstraint(int code) : Constraint(code)
{
    public override string Description => $"exit code {code}";

    public override ConstraintResult ApplyTo<TActual>(TActual actual)
    {
        var result = Require.Type<ShellResult>(actual);
        return new ShellConstraintResult(this, result, result.Outcome == ShellOutcome.Exited && result.ExitCode == code);
    }
}

/// <summary>Shows a command's ending, output and errors where a constraint on it failed.</summary>
sealed class ShellConstraintResult(Constraint constraint, ShellResult result, bool isSuccess)
    : ConstraintResult(constraint, result, isSuccess)
{
    const int MostShown = 2000;

    public override void WriteActualValueTo(MessageWriter writer)
    {
        writer.Write($"{result.Ending} of `{result.Command}`");
        Write(writer, "printed", result.Output);
        Write(writer, "complained", result.Error);
    }

    static void Write(MessageWriter writer, string what, string text)
    {
        if (text.Length == 0) return;
        if (text.Length > MostShown) text = "..." + text[^MostShown..];
        writer.WriteLine();
        writer.Write($"    {what}:");
        foreach (string line in text.TrimEnd('\n').Split('\n'))
        {
            writer.WriteLine();
            writer.Write($"      | {line}");
        }
    }
}
