namespace VmLab.Running;

/// <summary>A lab's elapsed guest time as .NET's clock and timers, for Polly.</summary>
/// <remarks>
/// It never goes back, so that a restore neither repeats nor skips a delay. A timer counts as something awaited: the lab
/// advances to it, and calls back on the pump at that guest time exactly.
/// </remarks>
sealed class LabTime(Lab lab) : TimeProvider
{
    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => lab.Elapsed.Ticks;

    /// <summary>Labs begin in 1970.</summary>
    public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch + lab.Elapsed;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new Timer(lab, () => callback(state));
        timer.Change(dueTime, period);
        return timer;
    }

    sealed class Timer(Lab lab, Action callback) : ITimer
    {
        CancellationTokenSource? _running;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            Dispose();
            if (dueTime == Timeout.InfiniteTimeSpan) return true;
            _running = new CancellationTokenSource();
            _ = Run(lab.Elapsed + dueTime, period, _running.Token);
            return true;
        }

        public void Dispose()
        {
            _running?.Cancel();
            _running = null;
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }

        async Task Run(TimeSpan dueAt, TimeSpan period, CancellationToken stop)
        {
            bool isPeriodic = period > TimeSpan.Zero, goesOn;
            do
            {
                goesOn = await Reach(dueAt, stop) && isPeriodic;
                if (stop.IsCancellationRequested) return;
                callback();
                dueAt += period;
            }
            while (goesOn);
        }

        /// <summary>Waits for an elapsed time.</summary>
        /// <returns>False where the lab ended first: who waits for the timer is let go on, to find that out.</returns>
        async Task<bool> Reach(TimeSpan dueAt, CancellationToken stop)
        {
            while (true)
            {
                try
                {
                    TimeSpan left = dueAt - lab.Elapsed;
                    if (left > TimeSpan.Zero) await lab.RunFor(left, stop);
                    return true;
                }
                catch (MomentRestoredException)
                {
                    // Elapsed time did not go back: what is left of the delay is left.
                }
                catch (Exception end) when (end is LabException or OperationCanceledException)
                {
                    return false;
                }
            }
        }
    }
}
