using System.Diagnostics;

namespace VmLab.Migrating;

/// <summary>Time of the host, by which migrations between processes are measured and hosted machines run; never a guest's.</summary>
static class HostClock
{
    const ulong Second = 1_000_000_000;

    /// <summary>Nanoseconds since some instant.</summary>
#pragma warning disable RS0030 // What runs for real is measured by real time: see the class.
    public static ulong Now => (ulong)((UInt128)Stopwatch.GetTimestamp() * Second / (ulong)Stopwatch.Frequency);
#pragma warning restore RS0030
}
