namespace VmLab;

// What a failed run is known by, and run again from.
public sealed partial class Lab
{
    readonly List<Fault> _injected = [];

    /// <summary>The moment that the lab grew from, where it was not powered on.</summary>
    public Moment? GrownFrom { get; }

    /// <summary>All faults that were injected, in their order.</summary>
    public IReadOnlyList<Fault> Injected => _injected;

    /// <summary>Lab time at which the run is to end, in nanoseconds.</summary>
    ulong EndsAt => _options.Until is { } until ? (ulong)until.TotalNanoseconds : ulong.MaxValue;

    /// <summary>Ends every await where the lab has reached the time at which it is to end.</summary>
    bool HasEnded()
    {
        if (Nanoseconds < EndsAt) return false;
        var ended = new RunEndedException($"The lab stands at {Spoken(Now)}, as was asked for.", Report());
        EndWaits(wait => wait.Fail(ended));
        return true;
    }
}

/// <summary>A lab has reached the guest time of <see cref="LabOptions.Until"/>.</summary>
public sealed class RunEndedException(string what, string report) : GuestException(what, report);
