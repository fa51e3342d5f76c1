namespace VmLab.Core;

/// <summary>The one clock that a machine and all its devices read.</summary>
public interface IClock
{
    /// <summary>Machine time since power-on, in nanoseconds; it never goes back but by a restore.</summary>
    ulong Now { get; }
}

/// <summary>Something that acts by itself when a time comes.</summary>
public interface ITimed
{
    /// <summary>
    /// Machine time of the next act, in nanoseconds, as a function of the state; <see cref="ulong.MaxValue"/> for
    /// never.
    /// </summary>
    ulong NextDeadline { get; }

    /// <summary>Does all that is due at the clock's present time.</summary>
    void Advance();
}
