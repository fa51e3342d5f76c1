namespace VmLab.Running;

/// <summary>Looks whether what a script awaits has come.</summary>
delegate bool Look<T>(out T value);

/// <summary>One operation that a script awaits. The lab looks after it at the end of every quantum.</summary>
abstract class Wait
{
    /// <summary>Lab time, in nanoseconds, at which the wait ends whatever comes.</summary>
    public required ulong LimitAt { get; init; }

    /// <summary>The machine without which the wait is hopeless; <see langword="null"/> for any.</summary>
    public Vm? Machine { get; init; }

    /// <summary>Whether the guest's kernel must be alive to bring it.</summary>
    public bool NeedsKernel { get; init; }

    /// <summary>Whether what it waits for is looked at where a machine is held, too.</summary>
    public bool IsHook { get; init; }

    /// <summary>Whether what it waits for may come of time alone, so that no quantum's end may be left out.</summary>
    public bool FollowsTime { get; init; }

    /// <summary>Whether the wait goes on when no machine runs that could bring what it waits for.</summary>
    public bool OutlivesMachines { get; init; }

    public abstract void Cancel(CancellationToken token);

    public abstract void Fail(Exception exception);

    /// <summary>Ends the wait if it has what it waits for, or cannot have it any more.</summary>
    /// <param name="now">Lab time, in nanoseconds.</param>
    /// <param name="isHopeless">No machine runs any more that could bring it.</param>
    public abstract bool TryEnd(ulong now, bool isHopeless);
}

/// <inheritdoc/>
sealed class Wait<T> : Wait
{
    // Continuations are posted to the pump: they run after the quantum's end is settled, in the order of the waits.
    readonly TaskCompletionSource<T> _source = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<T> Task => _source.Task;

    public required Look<T> Look { get; init; }

    /// <summary>What the wait brings, or throws, at its limit.</summary>
    public required Func<T> OnLimit { get; set; }

    /// <summary>What the wait brings, or throws, once no machine runs that could bring anything else.</summary>
    public required Func<T> OnHopeless { get; set; }

    public override bool TryEnd(ulong now, bool isHopeless)
    {
        if (Task.IsCompleted) return true;
        try
        {
            if (Look(out T value)) _source.TrySetResult(value);
            else if (isHopeless) _source.TrySetResult(OnHopeless());
            else if (now >= LimitAt) _source.TrySetResult(OnLimit());
            else return false;
        }
        catch (Exception exception)
        {
            _source.TrySetException(exception);
        }
        return true;
    }

    public override void Cancel(CancellationToken token) => _source.TrySetCanceled(token);

    public override void Fail(Exception exception) => _source.TrySetException(exception);
}
