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
    /// Use <see cref="Resilience.Retry(ResiliencePipelineBuilder, Action{RetryStrategyOptions})"/> in place of Polly's AddRetry,
    /// which draws jitter from the host. Delays are whole milliseconds, as .NET has them; what is over is cut off. A circuit
    /// breaker's OnOpened and its like would run off the pump: leave them out. A timeout ends the await, not the command: give a
    /// Shell its own limit to have that killed.
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
