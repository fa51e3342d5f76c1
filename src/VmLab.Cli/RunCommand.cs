using VmLab.Scripting;

namespace VmLab.Cli;

/// <summary><c>vmlab run FILE.csx</c>.</summary>
static class RunCommand
{
    /// <param name="report">Folder that gets a page for each of the script's labs; <see langword="null"/> for none.</param>
    public static int Run(string script, IReadOnlyList<string> arguments, LabOptions options, string? report = null)
    {
        using var interruption = new Interruption();
        using IView view = Views.ForThisTerminal();
        Pump? pump = null;
        RunOutcome outcome = RunOutcome.Passed;
        try
        {
            CompiledScript compiled = new ScriptHost(Tool.ScriptOptions).Load(script);
            pump = Pump.Open(options with { Stop = interruption.Stop, Observer = view });
            object? result = null;
            pump.Drive(async () => result = await compiled.RunAsync(new ScriptGlobals(arguments)));
            if (result is not (null or 0)) outcome = RunOutcome.Failed($"The script returned {result}.");
            return result is int code ? code : ExitCode.Passed;
        }
        catch (OperationCanceledException) when (interruption.IsRequested)
        {
            outcome = RunOutcome.Failed("Stopped by request.");
            view.Dispose();
            Console.Error.WriteLine($"Stopped by request.{Environment.NewLine}{pump?.Report()}");
            return ExitCode.Interrupted;
        }
        catch (OperationCanceledException) when (pump?.Labs.Any(lab => lab.IsKilledByGdb) is true)
        {
            outcome = RunOutcome.Failed("Stopped by gdb.");
            view.Dispose();
            Console.Error.WriteLine($"Stopped by gdb.{Environment.NewLine}{pump.Report()}");
            return ExitCode.Interrupted;
        }
        catch (Exception failure)
        {
            outcome = RunOutcome.Failed(Failure.Brief(failure, script));
            view.Dispose();
            Failure.Tell(Console.Error, failure, script, pump?.Report() ?? "");
            return ExitCode.Of(failure);
        }
        finally
        {
            pump?.Close();
            if (report is not null && pump is not null) Save(pump.Labs, report, outcome);
        }
    }

    // How the script ended is told of its last lab; an earlier one ended well, or the script would not have come so far.
    static void Save(IReadOnlyList<Lab> labs, string folder, RunOutcome outcome)
    {
        for (int i = 0; i < labs.Count; i++)
            labs[i].Save(folder, i == labs.Count - 1 ? outcome : null, i == 0 ? "report" : $"report-{i + 1}");
        if (labs.Count > 0) Console.Error.WriteLine($"Report: {Path.Combine(folder, "report.html")}");
    }
}
