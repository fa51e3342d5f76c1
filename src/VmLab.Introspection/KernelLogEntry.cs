using System.Globalization;

namespace VmLab.Introspection;

/// <summary>How grave a kernel's message is.</summary>
public enum KernelLogLevel
{
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Information,
    Debug,
}

/// <summary>A record of a kernel's log.</summary>
/// <param name="Sequence">Counts records from 0, those that are overwritten too.</param>
/// <param name="Time">By the kernel's own clock, which starts some time after power-on.</param>
/// <param name="Facility">0 for the kernel's own; a program that writes to /dev/kmsg names another.</param>
/// <param name="Text">Without a newline at its end; it may have several lines.</param>
public readonly record struct KernelLogEntry(ulong Sequence, TimeSpan Time, KernelLogLevel Level, int Facility, string Text)
{
    /// <summary>As dmesg prints it: each line with its time.</summary>
    public override string ToString()
    {
        long microseconds = Time.Ticks / TimeSpan.TicksPerMicrosecond;
        string stamp = string.Create(CultureInfo.InvariantCulture, $"[{microseconds / 1_000_000,5}.{microseconds % 1_000_000:d6}] ");
        return stamp + Text.Replace("\n", $"\n{stamp}", StringComparison.Ordinal);
    }
}
