using System.Diagnostics;

namespace VmLab.Cli;

/// <summary>Tells what ended a script: the message, the script's own line, and where its labs stood.</summary>
static class Failure
{
    /// <param name="script">Path of the script, or <see langword="null"/> where there is none.</param>
    /// <param name="report">Where the labs stood; empty where there were none.</param>
    public static void Tell(TextWriter output, Exception failure, string? script, string report)
    {
        if (ScriptLine(failure, script) is var (file, line, source))
        {
            output.WriteLine($"{Path.GetRelativePath(Environment.CurrentDirectory, file)}({line}): {Kind(failure)}");
            output.WriteLine($"    {source.Trim()}");
        }
        else if (!IsOurs(failure)) output.WriteLine(Kind(failure));
        output.WriteLine(failure.Message.TrimEnd());
        if (!IsOurs(failure) && !ExitCode.IsAssertion(failure)) output.WriteLine(Trace(failure));
        // A guest's failure says itself where its lab stood.
        if (failure is not GuestException && report.Length > 0) output.WriteLine(report);
    }

    /// <summary>The same for a report, which says nothing of the host: no folders, and not where the labs stood.</summary>
    public static string Brief(Exception failure, string script)
    {
        string message = (failure is GuestException guest ? guest.What : failure.Message).TrimEnd();
        return ScriptLine(failure, script) is var (file, line, source)
            ? $"{Path.GetFileName(file)}({line}): {Kind(failure)}\n    {source.Trim()}\n{message}"
            : $"{Kind(failure)}\n{message}";
    }

    static string Kind(Exception failure) => failure switch
    {
        _ when ExitCode.IsAssertion(failure) => "an assertion failed",
        LimitReachedException => "the limit in guest time was reached",
        MachineStoppedException => "the machine stopped",
        _ when IsOurs(failure) => "error",
        _ => failure.GetType().FullName!,
    };

    static bool IsOurs(Exception failure) => failure is LabException;

    static (string File, int Line, string Source)? ScriptLine(Exception failure, string? script)
    {
        if (script is null) return null;
        string folder = Path.GetDirectoryName(Path.GetFullPath(script))!;
        foreach (StackFrame frame in new StackTrace(failure, fNeedFileInfo: true).GetFrames())
        {
            if (frame.GetFileName() is not { } file || !file.EndsWith(".csx", StringComparison.Ordinal)) continue;
            string path = Path.GetFullPath(file, folder);
            string? source = File.Exists(path) ? File.ReadLines(path).ElementAtOrDefault(frame.GetFileLineNumber() - 1) : null;
            return (path, frame.GetFileLineNumber(), source ?? "");
        }
        return null;
    }

    // The machinery between the script's lines tells its author nothing.
    static string Trace(Exception failure) => string.Join(Environment.NewLine, (failure.StackTrace ?? "").Split('\n')
        .Select(line => line.TrimEnd())
        .Where(line => line.Length > 0 && !line.StartsWith("---", StringComparison.Ordinal) && !line.Contains("VmLab.Pump")));
}
