using Polly;
using Polly.Retry;
using VmLab.Running;

namespace VmLab;

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
