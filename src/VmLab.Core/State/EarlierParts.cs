namespace VmLab.Core;

/// <summary>
/// The parts of an earlier moment that are large, and change little: those of a later one are written, and read, as what differs from
/// them, in the same order.
/// </summary>
public sealed class EarlierParts(IEnumerable<object> parts)
{
    readonly Queue<object> _parts = new(parts);

    public bool AreOver => _parts.Count == 0;

    /// <returns>The next part; <see langword="null"/> if that is none of this type.</returns>
    public T? Next<T>() where T : class => _parts.TryDequeue(out object? part) ? part as T : null;
}
