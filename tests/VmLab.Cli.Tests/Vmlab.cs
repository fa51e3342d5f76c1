using System.Diagnostics;

namespace VmLab.Cli.Tests;

/// <summary>The tool, run as its users run it: a process with arguments, output and an exit code.</summary>
static class Vmlab
{
    static readonly TimeSpan s_patience = TimeSpan.FromMinutes(10);
    static readonly string s_tool = Path.Combine(AppContext.BaseDirectory, "VmLab.Cli.dll");

    public static string Root { get; } = FindRoot();

    public static Ending Run(params IEnumerable<string> arguments) => RunWith("", arguments);

    /// <summary>Runs the tool with a store of its own for guests, moments and bundles.</summary>
    public static Ending RunAt(string store, params IEnumerable<string> arguments) => DotnetAt(store, [s_tool, .. arguments]);

    /// <summary>Runs tests of this assembly, as those who wrote them would, with a store of their own.</summary>
    /// <param name="where">Which, as NUnit selects them.</param>
    public static Ending TestAt(string store, string where) => DotnetAt(
        store, ["test", typeof(Vmlab).Assembly.Location, "--", "NUnit.ExplicitMode=Relaxed", $"NUnit.Where={where}"]);

    public static Ending RunWith(string input, params IEnumerable<string> arguments)
    {
        using Process process = Start(arguments);
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        return End(process);
    }

    /// <summary>Starts the tool, waits for a line of its output, and sends it a signal.</summary>
    public static Ending Signal(string signal, string afterLine, params IEnumerable<string> arguments)
    {
        using Process process = Start(arguments);
        string seen = "";
        while (process.StandardOutput.ReadLine() is { } line && line != afterLine) seen += line + "\n";
        using (Process kill = Process.Start("kill", [signal, $"{process.Id}"])) kill.WaitForExit();
        Ending ending = End(process);
        return ending with { Output = seen + ending.Output };
    }

    /// <summary>Starts the tool, waits for a line of its output and then for something, and kills it.</summary>
    public static void Kill(string afterLine, Func<bool> when, params IEnumerable<string> arguments)
    {
        using Process process = Start(arguments);
        while (process.StandardOutput.ReadLine() is { } line && line != afterLine) { }
        SpinWait.SpinUntil(() => when() || process.HasExited, s_patience);
        process.Kill();
        process.WaitForExit();
    }

    /// <summary>Starts the tool, and acts upon the first line of its error output that asks for it.</summary>
    public static Ending Answering(Func<string, bool> asks, Action<string> answer, params IEnumerable<string> arguments)
    {
        using Process process = Start(arguments);
        string seen = "";
        while (process.StandardError.ReadLine() is { } line)
        {
            seen += line + "\n";
            if (!asks(line)) continue;
            answer(line);
            break;
        }
        Ending ending = End(process);
        return ending with { Error = seen + ending.Error };
    }

    static Ending DotnetAt(string store, IEnumerable<string> arguments)
    {
        using Process process = StartDotnet([$"VMLAB_CACHE={store}"], arguments);
        return End(process);
    }

    static Process Start(IEnumerable<string> arguments) => StartDotnet([], [s_tool, .. arguments]);

    // A shell has SIGINT ignored in what it starts in the background, and that is inherited.
    static Process StartDotnet(IEnumerable<string> variables, IEnumerable<string> arguments) =>
        Process.Start(new ProcessStartInfo("env", ["--default-signal=INT", .. variables, "dotnet", .. arguments])
        {
            WorkingDirectory = Root,
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;

    static Ending End(Process process)
    {
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(s_patience))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"The tool did not end within {s_patience}.");
        }
        return new Ending(process.ExitCode, output.Result, error.Result);
    }

    static string FindRoot()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Lab.sln"))) folder = Path.GetDirectoryName(folder);
        return folder ?? throw new DirectoryNotFoundException("There is no Lab.sln above the tests.");
    }
}

sealed record Ending(int Code, string Output, string Error);
