using NUnit.Framework.Constraints;
using VmLab.Core;

namespace VmLab.Testing;

/// <summary>Constraints on a machine's console: <c>Assert.That(lab[vm], Shows.Text("login:"))</c>.</summary>
public static class Shows
{
    /// <summary>All that the machine printed so far has this text somewhere.</summary>
    public static ShowConstraint Text(string text) => new(text);
}

/// <summary>
/// Succeeds when a console shows a text. It looks once; to wait in guest time, use Eventually or Expect.
/// </summary>
public sealed class ShowConstraint(string text) : Constraint(text)
{
    public override string Description => $"a console that shows \"{text.Replace("\n", "\\n", StringComparison.Ordinal)}\"";

    /// <param name="actual">A machine or its console.</param>
    public override ConstraintResult ApplyTo<TActual>(TActual actual)
    {
        VmConsole console = actual is Vm vm ? vm.Console : Require.Type<VmConsole>(actual);
        return new Result(this, console, console.Text.Contains(text, StringComparison.Ordinal));
    }

    sealed class Result(Constraint constraint, VmConsole console, bool isSuccess) : ConstraintResult(constraint, console, isSuccess)
    {
        const int ShownLines = 10;

        public override void WriteActualValueTo(MessageWriter writer)
        {
            writer.Write("its last lines are");
            foreach (string line in console.Tail(ShownLines))
            {
                writer.WriteLine();
                writer.Write($"      | {line}");
            }
        }
    }
}
