using System.Runtime.CompilerServices;

namespace VmLab.Core;

/// <summary>Checks of arguments, each returning what it checked.</summary>
public static class Require
{
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="value"/> is not within the inclusive
    /// bounds.</exception>
    public static T InRange<T>(
        T value, T least, T most, [CallerArgumentExpression(nameof(value))] string name = "")
        where T : IComparable<T> =>
        value.CompareTo(least) >= 0 && value.CompareTo(most) <= 0
            ? value
            : throw new ArgumentOutOfRangeException(name, value, $"{name} must be {least} to {most}.");

    /// <exception cref="ArgumentException"><paramref name="value"/> is not a <typeparamref name="T"/>.</exception>
    public static T Type<T>(object? value, [CallerArgumentExpression(nameof(value))] string name = "") =>
        value is T typed
            ? typed
            : throw new ArgumentException($"{name} must be a {typeof(T).Name}, not {value?.GetType().Name ?? "null"}.", name);
}
