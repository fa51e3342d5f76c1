using Polly;
using Polly.Retry;
using VmLab.Core;
using VmLab.Running;

namespace VmLab;

// Resilience in guest time: Polly on the lab's clock.
public sealed partial class Lab
{
    int _pipelines;

    /// <summary>
    /// A builder of Polly pipelines whose delays, timeouts and breaks are guest time, for what the script does to the lab:
    /// <c>lab.Pipeline().Retry(retry => retry.Delay = 1.Seconds).AddTimeout(30.Seconds).Build()</c>.
    /// </summary>
    /// <remarks>
    /// Use <see cref="Resilience.Retry(ResiliencePipelineBuilder, Action{RetryStrategyOptions})"/> in place of Polly's AddRetry, which
    /// draws jitter from the host. Delays are whole milliseconds, as .NET has them; what is over is cut off. A circuit breaker's OnOpened and its like would run off the pump: leave them out. A timeout ends
    /// the await, not the command: give a Shell its own limit to have that killed.
    /// </remarks>
    public ResiliencePipelineBuilder Pipeline()
    {
        RequireOpen();
        return new ResiliencePipelineBuilder { TimeProvider = new LabTime(this), ContextPool = new LabContexts(this) };
    }

    /// <summary>The same for what has a result: <c>lab.Pipeline&lt;ShellResult&gt;()</c>.</summary>
    /// <inheritdoc cref="Pipeline()"/>
    public ResiliencePipelineBuilder<T> Pipeline<T>()
    {
        RequireOpen();
        return new ResiliencePipelineBuilder<T> { TimeProvider = new LabTime(this), ContextPool = new LabContexts(this) };
    }

    /// <summary>Numbers from 0 to 1 that follow from the seed, a stream of its own for each retry strategy.</summary>
    internal Func<double> NewJitter()
    {
        Rng random = Rng.FromSeed(Seed).Child("pipelines").Child($"{_pipelines++}");
        return () => random.NextDouble();
    }
}

/// <summary>Polly's strategies, as a lab needs them.</summary>
public static class Resilience
{
    /// <summary>
    /// Adds a retry: of what a guest did not do in time, unless the options say otherwise, with jitter from the lab's seed.
    /// </summary>
    /// <exception cref="LabException">The builder is not a lab's.</exception>
    public static ResiliencePipelineBuilder Retry(this ResiliencePipelineBuilder builder, Action<RetryStrategyOptions> configure)
    {
        var options = new RetryStrategyOptions
        {
            Randomizer = LabOf(builder.ContextPool).NewJitter(),
            ShouldHandle = arguments => new ValueTask<bool>(IsGuests(arguments.Outcome.Exception)),
        };
        configure(options);
        return builder.AddRetry(options);
    }

    /// <summary>Adds a retry: of what a guest did not do in time, and of a command that did not succeed.</summary>
    /// <inheritdoc cref="Retry(ResiliencePipelineBuilder, Action{RetryStrategyOptions})"/>
    public static ResiliencePipelineBuilder<T> Retry<T>(this ResiliencePipelineBuilder<T> builder, Action<RetryStrategyOptions<T>> configure)
    {
        var options = new RetryStrategyOptions<T>
        {
            Randomizer = LabOf(builder.ContextPool).NewJitter(),
            ShouldHandle = arguments => new ValueTask<bool>(
                IsGuests(arguments.Outcome.Exception) || arguments.Outcome.Result is ShellResult { Succeeded: false }),
        };
        configure(options);
        return builder.AddRetry(options);
    }

    // A broken invariant breaks every later await, too: to retry is of no use.
    static bool IsGuests(Exception? failure) =>
        failure is GuestException and not InvariantException or Polly.Timeout.TimeoutRejectedException;

    static Lab LabOf(ResilienceContextPool? contexts) => contexts is LabContexts pool ? pool.Lab : throw new LabException(
        "This pipeline is no lab's, and would wait in the host's time: begin it with lab.Pipeline().");
}
