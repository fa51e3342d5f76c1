namespace VmLab.Cli;

/// <summary>
/// Prints a line an event, for outputs that are no terminal. Guest time alone: equal runs print equal lines.
/// </summary>
sealed class PlainView(TextWriter output) : IView
{
    bool _hasStalled;

    public void Started(Lab lab) => output.WriteLine($"Lab \"{lab.Fleet.Name}\", seed {lab.Seed}");

    public void Preparing(Lab lab, string what) => output.WriteLine(what);

    public void Happened(Lab lab, TimelineEvent what) => output.WriteLine(what);

    public void Advanced(Lab lab) { }

    public void Stalled(Lab lab, string report) => Views.Stalled(output, report, ref _hasStalled);

    public void Closed(Lab lab) { }

    public void Dispose() { }
}
