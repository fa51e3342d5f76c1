using NUnit.Framework.Constraints;
using VmLab.Core;

namespace VmLab.Testing;

/// <summary>Constraints on what a command printed to its standard output.</summary>
public static class Prints
{
    /// <summary>This text and no other, but for one newline at its end.</summary>
    public static PrintConstraint Exactly(string text) => new(
        $"output exactly {Quoted(text)}", output => Bare(output) == Bare(text));

    /// <summary>One of these texts, but for one newline at its end.</summary>
    public static PrintConstraint Either(params string[] texts) => new(
        $"output exactly {string.Join(" or ", texts.Select(Quoted))}", output => texts.Any(text => Bare(output) == Bare(text)));

    /// <summary>This text somewhere.</summary>
    public static PrintConstraint Containing(string text) => new(
        $"output containing {Quoted(text)}", output => output.Contains(text, StringComparison.Ordinal));

    static string Bare(string text) => text.EndsWith('\n') ? text[..^1] : text;

    static string Quoted(string text) => $"\"{text.Replace("\n", "\\n", StringComparison.Ordinal)}\"";
}

/// <summary>Succeeds when a command's standard output is as described, however the command ended.</summary>
public sealed class PrintConstraint(string description, Func<string, bool> holds) : Constraint
{
    public override string Description => description;

    public override ConstraintResult ApplyTo<TActual>(TActual actual)
    {
        var result = Require.Type<ShellResult>(actual);
        return new ShellConstraintResult(this, result, holds(result.Output));
    }
}
