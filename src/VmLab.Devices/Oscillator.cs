namespace VmLab.Devices;

/// <summary>A crystal: turns machine time into ticks and back, exactly, without drift at any length of time.</summary>
/// <param name="Hertz">Ticks a second, 1 to 18 GHz.</param>
public readonly record struct Oscillator(ulong Hertz)
{
    /// <summary>No such time, or none that machine time can express.</summary>
    public const ulong Never = ulong.MaxValue;

    const ulong NanosecondsPerSecond = 1_000_000_000;

    /// <summary>Whole ticks since power-on at a machine time in nanoseconds.</summary>
    // Whole seconds are whole numbers of ticks, so only the rest is divided, and 64 bits hold every product.
    public ulong TicksAt(ulong time)
    {
        (ulong seconds, ulong rest) = Math.DivRem(time, NanosecondsPerSecond);
        return seconds * Hertz + rest * Hertz / NanosecondsPerSecond;
    }

    /// <summary>
    /// The first machine time, in nanoseconds, at which so many ticks have passed, or <see cref="Never"/>.
    /// </summary>
    public ulong TimeOf(ulong tick)
    {
        (ulong seconds, ulong rest) = Math.DivRem(tick, Hertz);
        ulong nanoseconds = (rest * NanosecondsPerSecond + Hertz - 1) / Hertz;
        return seconds < (Never - nanoseconds) / NanosecondsPerSecond
            ? seconds * NanosecondsPerSecond + nanoseconds
            : Never;
    }
}
