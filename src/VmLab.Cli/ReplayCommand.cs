using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace VmLab.Cli;

/// <summary><c>vmlab replay BUNDLE [--until TIME]</c>: runs what failed again, to the same failure.</summary>
static class ReplayCommand
{
    /// <param name="until">Guest time at which every lab stops; <see langword="null"/> goes on to the failure.</param>
    public static int Run(string path, TimeSpan? until, LabOptions options)
    {
        string folder = Directory.CreateTempSubdirectory("vmlab-replay").FullName;
        try
        {
            FailureBundle bundle = FailureBundle.Read(path, folder);
            if (bundle.VmLab != FailureBundle.ThisVmLab)
                Console.Error.WriteLine($"The bundle is of VmLab {bundle.VmLab}, and this is {FailureBundle.ThisVmLab}: it may run otherwise.");
            options = options with { Seed = bundle.Seed ?? options.Seed, Until = until, Moments = FailureBundle.MomentsIn(folder) };
            return bundle.Script is not null
                ? RunCommand.Run(bundle.ScriptIn(folder), bundle.Arguments, options, isReplay: true)
                : RunTest(bundle, options);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Reads <c>1.5</c>, <c>1.5s</c> or <c>250ms</c>.</summary>
    /// <exception cref="LabException">It is none of these.</exception>
    public static TimeSpan ParseTime(string text)
    {
        bool isMilliseconds = text.EndsWith("ms", StringComparison.Ordinal);
        string number = isMilliseconds ? text[..^2] : text.EndsWith('s') ? text[..^1] : text;
        return decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal value) && value < 1e9m
            ? TimeSpan.FromTicks((long)(value * (isMilliseconds ? TimeSpan.TicksPerMillisecond : TimeSpan.TicksPerSecond)))
            : throw new LabException($"--until {text}: give a guest time, as in 1.5s or 250ms.");
    }

    // The test's own runner finds its fixtures, settings and SetUps; the options reach it by the environment.
    static int RunTest(FailureBundle bundle, LabOptions options)
    {
        if (!File.Exists(bundle.Assembly))
            throw new LabException($"The test is in {bundle.Assembly}, which is not there: build it, or replay where it was built.");
        string pattern = Regex.Escape(bundle.Test!).Replace("\\", "\\\\").Replace("'", "\\'");   // `test ==` finds no name of a case
        string[] settings = [$"NUnit.Where=test =~ '^{pattern}$'", "NUnit.ExplicitMode=Relaxed", "RunConfiguration.TreatNoTestsAsError=true"];
        var start = new ProcessStartInfo("dotnet", ["test", bundle.Assembly, "--", .. settings]) { UseShellExecute = false };
        foreach (var (name, value) in options.ToEnvironment()) start.Environment[name] = value;
        using Process test = Process.Start(start)!;
        test.WaitForExit();
        return test.ExitCode == 0 ? ExitCode.Passed : ExitCode.Failed;
    }
}
