using VmLab.Core;
using VmLab.Testing;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

public sealed class ConstraintTests
{
    static readonly ShellResult s_failed = new("cat /x", "", "cat: /x: no such file\n", 1, ShellOutcome.Exited);
    static readonly ShellResult s_printed = new("cat /f", "v2\n", "", 0, ShellOutcome.Exited);
    static readonly ShellResult s_cut = new("sync", "", "", -1, ShellOutcome.PowerLost);

    [Test]
    public void Exits_with_compares_the_exit_code_of_a_command_that_ended()
    {
        Assert.That(s_failed, Exits.With(1));
        Assert.That(s_printed, Exits.With(0));
        Assert.That(s_cut, Is.Not.Matches(Exits.With(-1)));
    }

    [Test]
    public void A_wrong_exit_code_shows_command_and_output() => Assert.That(
        MessageOf(() => Assert.That(s_failed, Exits.With(0))),
        Does.Contain(
            """
              Expected: exit code 0
              But was:  exit code 1 of `cat /x`
                complained:
                  | cat: /x: no such file
            """));

    [Test]
    public void A_lost_machine_is_told() => Assert.That(
        MessageOf(() => Assert.That(s_cut, Exits.With(0))), Does.Contain("But was:  no end: the machine lost power of `sync`"));

    [Test]
    public void Prints_ignores_one_final_newline()
    {
        Assert.That(s_printed, Prints.Exactly("v2"));
        Assert.That(s_printed, Prints.Exactly("v2\n"));
        Assert.That(s_printed, Is.Not.Matches(Prints.Exactly("v")));
        Assert.That(s_printed with { Output = "v2\n\n" }, Is.Not.Matches(Prints.Exactly("v2")));
        Assert.That(s_printed, Prints.Either("v1", "v2"));
        Assert.That(s_printed, Prints.Containing("2"));
    }

    [Test]
    public void Constraints_refuse_what_is_no_result() => Assert.That(
        () => Exits.With(0).ApplyTo("text"), Throws.ArgumentException.With.Message.Contains("must be a ShellResult"));

    [Test]
    public void Shows_looks_at_a_console() => Run(One(Greets), async lab =>
    {
        await lab.RunFor(1.Seconds);

        Assert.That(lab[Alice], Shows.Text("hello"));
        Assert.That(lab[Alice].Console, Shows.Text("hello"));
        Assert.That(MessageOf(() => Assert.That(lab[Alice], Shows.Text("login:"))),
            Does.Contain("Expected: a console that shows \"login:\"").And.Contain("| hello"));
    });

    [Test]
    public void Eventually_waits_in_guest_time() => Run(One(Greets), async lab =>
    {
        await lab.Eventually(() => lab[Alice].Console.Text, Does.Contain("hello"), within: 30.Seconds);

        Assert.That(lab.Now, Is.EqualTo(20.Milliseconds));
    });

    [Test]
    public void Eventually_fails_as_an_assertion_at_its_limit() => Assert.That(
        MessageOf(() => Run(One(Greets), lab => lab.Eventually(() => lab[Alice].Console.Text, Does.Contain("login:"), within: 2.Seconds))),
        Does.Contain("after 2 s of guest time").And.Contain("Expected: String containing \"login:\"").And.Contain("hello"));

    static void Greets(ScriptedMachine alice) => alice.At(12.Milliseconds, () => alice.Prints("hello"));

    static string MessageOf(Action code)
    {
        using var _ = new NUnit.Framework.Internal.TestExecutionContext.IsolatedContext();
        return Assert.Catch<AssertionException>(code)!.Message;
    }
}
