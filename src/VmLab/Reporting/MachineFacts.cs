using System.Collections.Immutable;

namespace VmLab.Reporting;

/// <summary>A machine as a report's table has it.</summary>
/// <param name="Retired">Counts since power-on.</param>
/// <param name="Exits">Those that the guest causes, whatever the engine; most frequent first.</param>
sealed record MachineFacts(
    string Name, ByteSize Memory, string Status, ulong Retired, ImmutableArray<(ExitReason Reason, ulong Count)> Exits)
{
    // How often an engine refills its TLB, or finds that code changed, is its own affair.
    static readonly ExitReason[] s_ofEngine = [ExitReason.TlbRefill, ExitReason.CodeWrite, ExitReason.PageTableWrite];

    public static MachineFacts Of(Vm machine) => new(
        machine.Name, machine.Spec.MemorySize, machine.IsPaused ? "paused" : machine.HasPanicked ? "panicked" : Words(machine.Status.ToString()),
        machine.Retired, [.. machine.Exits.All.Where(exit => !s_ofEngine.Contains(exit.Reason))]);

    /// <summary><c>PoweredOff</c> as <c>powered off</c>.</summary>
    public static string Words(string name) => string.Concat(
        name.Select((c, i) => char.IsUpper(c) ? (i > 0 ? " " : "") + char.ToLowerInvariant(c) : $"{c}"));
}
