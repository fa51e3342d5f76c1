using System.Runtime.InteropServices;

namespace VmLab.Cli;

/// <summary>
/// Turns Ctrl-C into a clean stop: every await of every lab ends. The second Ctrl-C, or a script that does not stop,
/// ends the process.
/// </summary>
sealed class Interruption : IDisposable
{
    static readonly TimeSpan s_grace = TimeSpan.FromSeconds(5);

    readonly CancellationTokenSource _stop = new();
    readonly PosixSignalRegistration _interrupt, _terminate;
    Timer? _grace;

    public Interruption()
    {
        _interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle);
        _terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle);
    }

    public CancellationToken Stop => _stop.Token;

    public bool IsRequested => _stop.IsCancellationRequested;

    public void Dispose()
    {
        _interrupt.Dispose();
        _terminate.Dispose();
        _grace?.Dispose();
        _stop.Dispose();
    }

    void Handle(PosixSignalContext signal)
    {
        if (IsRequested) Environment.Exit(ExitCode.Interrupted);
        signal.Cancel = true;
        _grace = new Timer(_ => GiveUp(), null, s_grace, Timeout.InfiniteTimeSpan);
        _stop.Cancel();
    }

    static void GiveUp()
    {
        Console.Error.WriteLine($"The script does not stop within {s_grace.TotalSeconds} s: it is ended.");
        Environment.Exit(ExitCode.Interrupted);
    }
}
