using VmLab.Running;

namespace VmLab;

/// <summary>Moments that are prepared once, and kept on disk for all later runs.</summary>
public static class Moments
{
    /// <summary>
    /// A moment that is prepared when it is first used, by whatever process comes first, and loaded by all others. It returns at
    /// once: good for a static field.
    /// </summary>
    /// <remarks>
    /// It is kept under a hash of all that went into it: the fleet and its seed, the guests' bytes, the assembly that the recipe is
    /// in, the plain values that the recipe captures, and VmLab itself. Whatever else a recipe reads (a file, a clock) is not part
    /// of that. The store keeps the 32 moments used last.
    /// </remarks>
    /// <param name="name">Of the moment.</param>
    /// <param name="prepare">Brings a new lab of the fleet, with the fleet's own seed, to the moment.</param>
    public static Moment Cached(string name, Fleet fleet, Func<Lab, Task> prepare)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        return new Moment(name, fleet, new CachedMoment(name, fleet, prepare).GetAsync);
    }
}
