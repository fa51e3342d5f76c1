namespace VmLab.Cli;

/// <summary>Shows labs while they run, until it is disposed.</summary>
interface IView : ILabObserver, IDisposable;

static class Views
{
    /// <summary>
    /// The live view on a terminal; else a line an event on the error output, so that the script's own output stays its
    /// own.
    /// </summary>
    public static IView ForThisTerminal() =>
        Console.IsOutputRedirected || Console.IsErrorRedirected ? new PlainView(Console.Error) : new LiveView();

    /// <summary>Tells of a quantum that does not end. Its lab fails at its end; told a second time, there is none.</summary>
    public static void Stalled(TextWriter output, string report, ref bool hasStalled)
    {
        output.WriteLine(report);
        if (hasStalled) Environment.Exit(ExitCode.Infrastructure);
        hasStalled = true;
    }
}
