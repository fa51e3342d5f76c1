using System.Collections;
using System.Runtime.CompilerServices;

namespace VmLab.Core;

/// <summary>Many of a kind inside a state record: never changed in place, equal when its items are equal.</summary>
/// <remarks>Copying it is free; <see cref="With"/> copies all items, so it suits what changes seldom.</remarks>
[CollectionBuilder(typeof(Values), nameof(Values.Of))]
public readonly struct Values<T>(ReadOnlySpan<T> items) : IReadOnlyList<T>, IEquatable<Values<T>>
    where T : struct
{
    readonly T[]? _items = items.ToArray();

    public int Count => _items?.Length ?? 0;

    public T this[int index] => _items![index];

    public ReadOnlySpan<T> Span => _items;

    /// <summary>The same but for one item.</summary>
    public Values<T> With(int index, T value)
    {
        var changed = new Values<T>(Span);
        changed._items![index] = value;
        return changed;
    }

    public bool Equals(Values<T> other) => Span.SequenceEqual(other.Span);

    public override bool Equals(object? obj) => obj is Values<T> other && Equals(other);

    public override int GetHashCode()
    {
        var hash = new HashCode();
        foreach (T item in Span) hash.Add(item);
        return hash.ToHashCode();
    }

    public IEnumerator<T> GetEnumerator() => ((IEnumerable<T>)(_items ?? [])).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public static bool operator ==(Values<T> left, Values<T> right) => left.Equals(right);
    public static bool operator !=(Values<T> left, Values<T> right) => !left.Equals(right);
}

/// <summary>Makes <see cref="Values{T}"/>, also of collection expressions.</summary>
public static class Values
{
    public static Values<T> Of<T>(ReadOnlySpan<T> items)
        where T : struct => new(items);

    public static Values<T> Repeat<T>(T item, int count)
        where T : struct
    {
        var items = new T[count];
        Array.Fill(items, item);
        return new(items);
    }
}
