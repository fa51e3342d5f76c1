using VmLab.Scripting;

namespace VmLab.Cli;

/// <summary>
/// <c>vmlab repl</c>: C# a statement at a time, on a pump, so that labs of a session advance while they are awaited.
/// </summary>
static class ReplCommand
{
    static readonly string[] s_usings = ["VmLab", "VmLab.Core", "VmLab.Testing"];

    public static int Run(LabOptions options)
    {
        bool isFriendly = !Console.IsInputRedirected;
        if (isFriendly)
            Console.WriteLine($"vmlab {Tool.Version}: C# statements; `#exit` ends. Labs: `var lab = await Lab.StartAsync(fleet);`");
        ScriptHostOptions scripts = Tool.ScriptOptions with { Usings = [.. Tool.ScriptOptions.Usings, .. s_usings] };
        var repl = new Repl(scripts, Console.In, Console.Out, isFriendly);
        Pump.Run(() => repl.RunAsync(new ScriptGlobals([])), options);
        return ExitCode.Passed;
    }
}
