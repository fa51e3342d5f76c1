namespace VmLab.Core;

/// <summary>
/// A wire from a device to an interrupt controller: a level, and word of each edge to whoever listens.
/// </summary>
/// <param name="changed">Told the new level at each edge; <see langword="null"/> for nobody.</param>
public sealed class IrqLine(Action<bool>? changed = null)
{
    public bool IsHigh { get; private set; }

    public void Set(bool high)
    {
        if (high == IsHigh) return;
        IsHigh = high;
        changed?.Invoke(high);
    }

    /// <summary>Sets the level without an edge, as a restore does.</summary>
    public void SetSilently(bool high) => IsHigh = high;
}
