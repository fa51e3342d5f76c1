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
}
