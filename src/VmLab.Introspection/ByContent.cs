using System.Diagnostics.CodeAnalysis;

namespace VmLab.Introspection;

/// <summary>What was read from bytes, one for all machines whose memory holds the same bytes, for as long as one of them keeps it.</summary>
/// <remarks>It is known by a digest that nobody can forge: a guest cannot have another's. Safe for several threads.</remarks>
sealed class ByContent<T> where T : class
{
    readonly Dictionary<string, WeakReference<T>> _known = [];
    readonly Lock _lock = new();

    public bool TryFind(string digest, [NotNullWhen(true)] out T? value)
    {
        value = null;
        lock (_lock) return _known.TryGetValue(digest, out WeakReference<T>? kept) && kept.TryGetTarget(out value);
    }

    /// <returns>The value that all share: another's, if that was faster.</returns>
    public T Keep(string digest, T value)
    {
        lock (_lock)
        {
            if (TryFind(digest, out T? other)) return other;
            foreach (string forgotten in _known.Where(entry => !entry.Value.TryGetTarget(out _)).Select(entry => entry.Key).ToArray())
                _known.Remove(forgotten);
            _known[digest] = new WeakReference<T>(value);
            return value;
        }
    }
}
