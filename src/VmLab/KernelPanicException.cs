using System.Globalization;
using System.Text;
using VmLab.Introspection;
using VmLab.Running;

namespace VmLab;

/// <summary>A guest's kernel panicked or oopsed, and the script had not announced that by <see cref="Vm.MayPanic"/>.</summary>
public sealed class KernelPanicException : GuestException
{
    const int LoggedRecords = 60;

    internal KernelPanicException(Vm vm, KernelCrash crash, KernelLog? log)
        : base(Describe(vm, crash, log), vm.Lab.ReportOf(vm))
    {
        (Machine, Time, IsOops) = (vm.Name, Lab.Time(crash.Time), !crash.IsPanic);
        Log = log?.Text ?? "";
    }

    /// <summary>Name of the machine.</summary>
    public string Machine { get; }

    /// <summary>Lab time at which the kernel had reported it.</summary>
    public TimeSpan Time { get; }

    /// <summary>It was an oops: the kernel went on.</summary>
    public bool IsOops { get; }

    /// <summary>The kernel's log, as dmesg prints it; empty where there is none to be read.</summary>
    public string Log { get; }

    static string Describe(Vm vm, KernelCrash crash, KernelLog? log)
    {
        string reason = log is null ? "" : crash.IsPanic ? PanicReason(log) : OopsReason(log);
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture,
            $"{vm.Name}'s kernel {(crash.IsPanic ? "panicked" : "oopsed")} at {Lab.Time(crash.Time).TotalSeconds:0.000000} s{reason}.");
        text.Append($" Where that is expected, announce it: lab[\"{vm.Name}\"].MayPanic().");
        if (log is null) return text.ToString();
        text.AppendLine().Append("Its log ends:");
        foreach (KernelLogEntry entry in log.TakeLast(LoggedRecords))
            foreach (string line in entry.ToString().Split('\n')) text.AppendLine().Append("    | ").Append(VmConsole.Printable(line));
        return text.ToString();
    }

    static string PanicReason(KernelLog log)
    {
        const string Panic = "Kernel panic - not syncing: ";
        string? text = log.Select(entry => entry.Text).LastOrDefault(text => text.StartsWith(Panic, StringComparison.Ordinal));
        return text is null ? "" : $": {VmConsole.Printable(text[Panic.Length..].Split('\n')[0])}";
    }

    /// <summary>What the kernel says before the line that counts its oopses, or that line itself.</summary>
    static string OopsReason(KernelLog log)
    {
        const int LinesBefore = 8;
        string[] texts = [.. log.Select(entry => entry.Text)];
        int counted = Array.FindLastIndex(texts, text => text.Contains(" [#", StringComparison.Ordinal));
        if (counted < 0) return "";
        string cause = texts[Math.Max(0, counted - LinesBefore)..counted].LastOrDefault(
            text => text.StartsWith("BUG: ", StringComparison.Ordinal) || text.StartsWith("kernel BUG at ", StringComparison.Ordinal),
            texts[counted]);
        return $": {VmConsole.Printable(cause)}";
    }
}
