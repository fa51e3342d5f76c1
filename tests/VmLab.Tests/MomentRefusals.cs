using System.Text.RegularExpressions;
using VmLab.Tidy.Tests;

namespace VmLab.Tests;

/// <summary>The refusals that the readers of a moment can tell, as their sources have them, and how often each was met.</summary>
sealed partial class MomentRefusals
{
    static readonly string[] s_readers =
    [
        "src/VmLab.Core/State/StateFile.cs", "src/VmLab.Core/State/RecordReader.cs", "src/VmLab.Core/Memory/MemoryMoment.cs",
        "src/VmLab.Devices/Storage/SparseImage.cs", "src/VmLab.Devices/Storage/DiskDrive.cs", "src/VmLab.Machines/Pc.cs",
        "src/VmLab.Machines/PcDevices.cs", "src/VmLab.X86/State/CpuRules.cs", "src/VmLab/Moment.cs", "src/VmLab/Running/MomentFile.cs",
        "src/VmLab/Running/MomentRules.cs", "src/VmLab/Networks/Segment.cs", "src/VmLab/Networks/PortQueue.cs",
    ];

    // Those with most words of their own come first.
    readonly List<(string Text, Regex Pattern)> _all =
    [
        .. from text in s_readers.SelectMany(TextsOf).Distinct()
           where !Frame().IsMatch(text)
           orderby Hole().Replace(text, "").Length descending
           select (text, PatternOf(text)),
    ];

    readonly SortedDictionary<string, int> _met = [];

    /// <summary>Counts the refusal that has most of its words in the message.</summary>
    public void Meet(string message)
    {
        string? met = _all.Find(refusal => refusal.Pattern.IsMatch(message)).Text;
        if (met is not null) _met[met] = _met.GetValueOrDefault(met) + 1;
    }

    public IReadOnlyDictionary<string, int> Met => _met;

    public IEnumerable<string> NeverMet => _all.Select(refusal => refusal.Text).Where(text => !_met.ContainsKey(text));

    static IEnumerable<string> TextsOf(string file)
    {
        Regex refusals = file.EndsWith("Rules.cs", StringComparison.Ordinal) ? Rule() : Refusal();
        return refusals.Matches(string.Join('\n', Repository.Lines(file))).Select(match => match.Groups["text"].Value);
    }

    // What is between braces may be anything.
    static Regex PatternOf(string text) => new(string.Join(".*", Hole().Split(text).Select(Regex.Escape)), RegexOptions.Singleline);

    [GeneratedRegex("""(?:Damaged|LabException)\(\s*\$?"(?<text>(?:[^"\\]|\\.)+)""")]
    private static partial Regex Refusal();

    [GeneratedRegex("""(?:return|\?|:) \$?"(?<text>[^"]+)";""")]
    private static partial Regex Rule();

    // Words around a refusal from elsewhere.
    [GeneratedRegex("""\{\w+\.Message\}|\{rule\}""")]
    private static partial Regex Frame();

    [GeneratedRegex("""\{[^}]*\}|\\.""")]
    private static partial Regex Hole();
}
