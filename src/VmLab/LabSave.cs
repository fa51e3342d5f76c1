using VmLab.Reporting;

namespace VmLab;

// What is kept of a lab for those who look at it afterwards.
public sealed partial class Lab
{
    internal LabRecord Record { get; }

    /// <summary>The command that runs all of this again, where the options name one.</summary>
    public string? ReplayCommand => _options.Replay;

    /// <summary>
    /// Writes a page that shows the run so far: the fleet's timeline, and every console as it was at any guest time. Equal runs
    /// give equal bytes. Good for a closed lab, too.
    /// </summary>
    /// <param name="folder">Made if it is not there; the page is <c>NAME.html</c> in it, and needs nothing else.</param>
    /// <param name="outcome">How the run ended; where it is <see langword="null"/>, the page says whether an invariant broke.</param>
    /// <param name="name">Of the page, for several in one folder.</param>
    /// <exception cref="LabException">The page cannot be written there.</exception>
    public void Save(string folder, RunOutcome? outcome = null, string name = "report")
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(folder);
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        string path = Path.Combine(folder, $"{name}.html");
        byte[] page = Page(outcome ?? (_broken is { } broken ? RunOutcome.Failed(broken.Message) : null));
        try
        {
            Directory.CreateDirectory(folder);
            File.WriteAllBytes(path, page);
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"The report cannot be written to {path}: {refusal.Message}", refusal);
        }
    }
    internal byte[] Page(RunOutcome? outcome) => ReportPage.Of(ReportData.Of(this, outcome));
}
