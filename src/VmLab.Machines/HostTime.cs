using System.Diagnostics;

namespace VmLab.Machines;

/// <summary>Time of the host that a machine's runs took. It is only shown; nothing of it reaches a guest.</summary>
sealed class HostTime
{
#pragma warning disable RS0030 // To be shown is what host time is for: see the class.
    readonly Stopwatch _stopwatch = new();

    public TimeSpan Elapsed => _stopwatch.Elapsed;

    public void Start() => _stopwatch.Start();

    public void Stop() => _stopwatch.Stop();
#pragma warning restore RS0030
}
