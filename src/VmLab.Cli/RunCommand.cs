using VmLab.Scripting;

namespace VmLab.Cli;

/// <summary><c>vmlab run FILE.csx</c>.</summary>
static class RunCommand
{
    /// <param name="report">Folder that gets a page for each of the script's labs; <see langword="null"/> for none.</param>
    /// <param name="isReplay">A failure is known already: no bundle is made of it.</param>
    public static int Run(
        string script, IReadOnlyList<string> arguments, LabOptions options, string? report = null, bool isReplay = false)
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
        catch (RunEndedException end)
        {
            view.Dispose();
            Console.Error.WriteLine(end.Message);
            return ExitCode.Passed;
        }
        catch (Exception failure)
        {
            outcome = RunOutcome.Failed(Failure.Brief(failure, script));
            view.Dispose();
            Failure.Tell(Console.Error, failure, script, pump?.Report() ?? "");
            if (!isReplay && ExitCode.Of(failure) == ExitCode.Failed && pump is { Labs.Count: > 0 })
                Console.Error.WriteLine($"Replay: vmlab replay {Bundle(script, arguments, options, failure, pump)}");
            return ExitCode.Of(failure);
        }
        finally
        {
            pump?.Close();
            if (report is not null && pump is not null) Save(pump.Labs, report, outcome);
        }
    }

    static string Bundle(string script, IReadOnlyList<string> arguments, LabOptions options, Exception failure, Pump pump)
    {
        IReadOnlyDictionary<string, byte[]> files = ScriptHost.FilesOf(script);
        string own = Path.GetFullPath(script), root = Path.GetDirectoryName(own)!;
        while (!files.Keys.All(IsBelowRoot)) root = Path.GetDirectoryName(root)!;
        var bundle = new FailureBundle
        {
            Script = Path.GetRelativePath(root, own), Arguments = [.. arguments], Seed = options.Seed, Failure = failure.Message,
        };
        Dictionary<string, byte[]> scripts = files.ToDictionary(file => Path.GetRelativePath(root, file.Key), file => file.Value);
        return FailureBundle.Write(bundle, Path.GetFileNameWithoutExtension(script), scripts, pump);

        bool IsBelowRoot(string file) =>
            file.StartsWith(Path.TrimEndingDirectorySeparator(root) + Path.DirectorySeparatorChar, StringComparison.Ordinal);
    }

    // How the script ended is told of its last lab; an earlier one ended well, or the script would not have come so far.
    static void Save(IReadOnlyList<Lab> labs, string folder, RunOutcome outcome)
    {
        for (int i = 0; i < labs.Count; i++)
            labs[i].Save(folder, i == labs.Count - 1 ? outcome : null, i == 0 ? "report" : $"report-{i + 1}");
        if (labs.Count > 0) Console.Error.WriteLine($"Report: {Path.Combine(folder, "report.html")}");
    }
}
