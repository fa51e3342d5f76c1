using VmLab.Core;

namespace VmLab.Scripting.Tests;

public sealed class ReplTests
{
    [Test]
    public void Variables_stay_and_values_are_printed() => Assert.That(
        Session("var x = 40;\nx + 2\n\"text\"\n"), Is.EqualTo("42\n\"text\"\n"));

    [Test]
    public void A_statement_may_span_lines() => Assert.That(
        Session("int Twice(int x)\n{\n    return 2 * x;\n}\nTwice(21)\n"), Is.EqualTo("42\n"));

    [Test]
    public void Errors_are_told_and_the_session_goes_on() => Assert.That(
        Session("nothing\nthrow new VmLab.LabException(\"no such thing\");\n1 + 1\n"),
        Does.Contain("error CS0103").And.EndsWith("no such thing\n2\n"));

    [Test]
    public void Awaits_run_on_the_pump() => Assert.That(
        Session("await System.Threading.Tasks.Task.Yield();\nVmLab.Pump.Current is null\n"), Is.EqualTo("false\n"));

    [Test]
    public void A_value_that_writes_several_lines_is_shown_as_it_writes_itself() => Assert.That(
        Session("new System.Text.StringBuilder(\"a\\nb\")\n"), Is.EqualTo("a\nb\n"));

    [Test]
    public void Exit_ends_the_session() => Assert.That(Session("1\n#exit\n2\n"), Is.EqualTo("1\n"));

    static string Session(string typed)
    {
        var output = new StringWriter { NewLine = "\n" };
        var options = new ScriptHostOptions
        {
            Carried = [new CarriedPackage("VmLab", "0.1.0", [typeof(Lab).Assembly.Location, typeof(ByteSize).Assembly.Location])],
        };
        var repl = new Repl(options, new StringReader(typed), output, isFriendly: false);
        Pump.Run(() => repl.RunAsync(new ScriptGlobals([])), new LabOptions());
        return output.ToString();
    }
}
