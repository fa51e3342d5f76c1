using VmLab.Core;
using VmLab.Running;

namespace VmLab;

/// <summary>When something is to be done to a lab, once or again and again: say what with one of the verbs.</summary>
/// <remarks>
/// It is done between two quanta, at its guest time exactly, before the script sees that time. It belongs to the
/// script: a restore does not take it back, and what was done at its time is not done again.
/// </remarks>
public sealed class Schedule
{
    readonly Lab _lab;
    readonly Agenda _agenda;
    readonly ulong _first, _period;

    /// <param name="first">Lab time, in nanoseconds.</param>
    /// <param name="period">In nanoseconds; 0 for once.</param>
    internal Schedule(Lab lab, Agenda agenda, ulong first, ulong period) =>
        (_lab, _agenda, _first, _period) = (lab, agenda, first, period);

    /// <summary>The one way in for every deed.</summary>
    /// <returns>What ends the schedule when it is disposed of.</returns>
    public IDisposable Do(Action<Lab> deed) => _agenda.Add(_first, _period, () => deed(_lab));

    /// <summary>Restores the lab.</summary>
    public IDisposable Restore(Moment moment) => Do(lab => lab.Restore(moment));

    /// <summary>Takes moments.</summary>
    /// <param name="keep">How many of them to keep, the latest ones.</param>
    /// <param name="name">Each is called this and a number.</param>
    public MomentSeries Snapshot(int keep = int.MaxValue, string name = "moment")
    {
        var series = new MomentSeries(Require.InRange(keep, 1, int.MaxValue), name);
        series.EndsWith(Do(series.Take));
        return series;
    }
}

/// <summary>The moments that a schedule takes, oldest first.</summary>
public sealed class MomentSeries(int keep, string name) : IDisposable
{
    readonly List<Moment> _kept = [];
    IDisposable? _schedule;
    int _taken;

    public IReadOnlyList<Moment> Kept => _kept;

    public Moment Latest => _kept.Count > 0 ? _kept[^1] : throw new LabException($"No {name} has been taken yet.");

    /// <summary>Ends the schedule; what was kept stays.</summary>
    public void Dispose() => _schedule?.Dispose();

    internal void EndsWith(IDisposable schedule) => _schedule = schedule;

    internal void Take(Lab lab)
    {
        if (_kept.Count == keep)
        {
            _kept[0].Dispose();
            _kept.RemoveAt(0);
        }
        _kept.Add(lab.TakeMoment($"{name} {++_taken}"));
    }
}
