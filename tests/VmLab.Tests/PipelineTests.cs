using Polly;
using Polly.CircuitBreaker;
using Polly.Retry;
using Polly.Timeout;
using VmLab.Core;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

public sealed class PipelineTests
{
    static readonly Fleet s_idle = One(_ => { });

    [Test]
    public void A_retry_waits_its_delay_in_guest_time_exactly() => Run(s_idle, async lab =>
    {
        List<TimeSpan> tries = [];
        ResiliencePipeline pipeline = lab.Pipeline()
            .Retry(retry => (retry.MaxRetryAttempts, retry.Delay) = (3, 1234.Milliseconds)).Build();

        await Assert.ThatAsync(() => pipeline.ExecuteAsync(async _ =>
        {
            tries.Add(lab.Now);
            await lab.Until(() => false, within: 1.Milliseconds);
        }).AsTask(), Throws.TypeOf<LimitReachedException>());

        Assert.That(tries, Is.EqualTo(new[] { 0, 1235, 2470, 3705 }.Select(time => time.Milliseconds)));
    });

    [Test]
    public void A_retry_is_of_commands_that_do_not_succeed() => Run(s_idle, async lab =>
    {
        int tries = 0;
        ResiliencePipeline<ShellResult> pipeline = lab.Pipeline<ShellResult>().Retry(retry => retry.Delay = 5.Milliseconds).Build();

        ShellResult result = await pipeline.ExecuteAsync(
            _ => ValueTask.FromResult(new ShellResult("false", "", "", ++tries < 3 ? 1 : 0, ShellOutcome.Exited)));

        Assert.That((result.Succeeded, tries, lab.Now), Is.EqualTo((true, 3, 10.Milliseconds)));
    });

    [Test]
    public void A_timeout_strikes_at_its_guest_time() => Run(s_idle, async lab =>
    {
        ResiliencePipeline pipeline = lab.Pipeline().AddTimeout(34.Milliseconds).Build();

        await Assert.ThatAsync(() => pipeline.ExecuteAsync(async stop => await lab.RunFor(1.Seconds, stop)).AsTask(),
            Throws.TypeOf<TimeoutRejectedException>());

        Assert.That(lab.Now, Is.EqualTo(34.Milliseconds));
    });

    [Test]
    public void A_timeout_that_is_not_needed_leaves_no_timer_behind() => Run(s_idle, async lab =>
    {
        ResiliencePipeline pipeline = lab.Pipeline().AddTimeout(60.Minutes).Build();

        await pipeline.ExecuteAsync(async stop => await lab.RunFor(1.Milliseconds, stop));
        await lab.RunFor(1.Milliseconds);

        Assert.That((lab.Now, lab.IsAwaited), Is.EqualTo((2.Milliseconds, false)));
    });

    [Test]
    public void A_circuit_stays_open_for_its_guest_time() => Run(s_idle, async lab =>
    {
        ResiliencePipeline pipeline = lab.Pipeline().AddCircuitBreaker(new CircuitBreakerStrategyOptions
        {
            MinimumThroughput = 2, FailureRatio = 1, BreakDuration = 700.Milliseconds,
        }).Build();
        for (int i = 0; i < 2; i++)
            await Assert.ThatAsync(() => pipeline.ExecuteAsync(_ => throw new GuestException("no", "")).AsTask(), Throws.TypeOf<GuestException>());

        await lab.RunFor(699.Milliseconds);
        await Assert.ThatAsync(() => pipeline.ExecuteAsync(_ => default).AsTask(), Throws.TypeOf<BrokenCircuitException>());
        await lab.RunFor(1.Milliseconds);

        await Assert.ThatAsync(() => pipeline.ExecuteAsync(_ => default).AsTask(), Throws.Nothing);
    });

    [Test]
    public void Jitter_follows_from_the_seed()
    {
        TimeSpan[] first = Jittered(seed: 1), again = Jittered(seed: 1), other = Jittered(seed: 2);

        Assert.That(again, Is.EqualTo(first));
        Assert.That(other, Is.Not.EqualTo(first));
    }

    [Test]
    public void Every_continuation_is_on_the_pump() => Run(s_idle, async lab =>
    {
        int thread = Environment.CurrentManagedThreadId;
        List<int> threads = [];
        ResiliencePipeline pipeline = lab.Pipeline()
            .Retry(retry => (retry.MaxRetryAttempts, retry.Delay) = (4, 1.Milliseconds)).AddTimeout(12.Milliseconds).Build();

        await Assert.ThatAsync(() => pipeline.ExecuteAsync(async stop =>
        {
            threads.Add(Environment.CurrentManagedThreadId);
            await lab.RunFor(1.Seconds, stop);
        }).AsTask(), Throws.TypeOf<TimeoutRejectedException>());

        Assert.That(threads, Is.EqualTo(Enumerable.Repeat(thread, 5)));
        Assert.That(Environment.CurrentManagedThreadId, Is.EqualTo(thread));
    });

    [Test]
    public void A_delay_outlives_a_restore() => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(
            Fleet.Define("f").Vm("a", vm => vm.Memory(4.MiB).Boot(Guest.Program(asm => asm.hlt()))));
        using Moment start = await lab.Snapshot("start");
        lab.At(4.Milliseconds).Restore(start);
        TimeSpan retriedAt = default;

        await lab.Pipeline().Retry(retry => retry.Delay = 10.Milliseconds).Build().ExecuteAsync(_ =>
        {
            if (lab.Elapsed == TimeSpan.Zero) throw new GuestException("not yet", "");
            retriedAt = lab.Elapsed;
            return default;
        });

        Assert.That((retriedAt, lab.Now), Is.EqualTo((10.Milliseconds, 6.Milliseconds)));
    }, new LabOptions());

    [Test]
    public void A_broken_invariant_ends_a_delay() => Run(s_idle, async lab =>
    {
        lab.Always("time is short", () => lab.Now < 10.Milliseconds);
        ResiliencePipeline pipeline = lab.Pipeline().Retry(retry => retry.Delay = 60.Minutes).Build();

        await Assert.ThatAsync(() => pipeline.ExecuteAsync(
            async _ => await lab.Until(() => false, within: 1.Milliseconds)).AsTask(), Throws.TypeOf<InvariantException>());

        Assert.That(lab.Now, Is.EqualTo(10.Milliseconds));
    });

    [Test]
    public void A_stop_ends_a_delay()
    {
        using var stop = new CancellationTokenSource();
        Assert.That(() => Run(One(alice => alice.At(50.Milliseconds, stop.Cancel)), async lab =>
        {
            await lab.Pipeline().Retry(retry => retry.Delay = 60.Minutes).Build()
                .ExecuteAsync(async _ => await lab.Until(() => false, within: 1.Milliseconds));
        }, new LabOptions { Stop = stop.Token }), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public void A_pipeline_that_is_no_labs_is_refused() => Assert.That(
        () => new ResiliencePipelineBuilder().Retry(_ => { }),
        Throws.TypeOf<LabException>().With.Message.Contains("begin it with lab.Pipeline()"));

    static TimeSpan[] Jittered(ulong seed)
    {
        List<TimeSpan> tries = [];
        Run(s_idle.Seed(seed), async lab =>
        {
            ResiliencePipeline pipeline = lab.Pipeline().Retry(retry =>
            {
                retry.MaxRetryAttempts = 6;
                retry.Delay = 20.Milliseconds;
                retry.BackoffType = DelayBackoffType.Exponential;
                retry.UseJitter = true;
            }).Build();
            await Assert.ThatAsync(() => pipeline.ExecuteAsync(_ =>
            {
                tries.Add(lab.Now);
                throw new GuestException("no", "");
            }).AsTask(), Throws.TypeOf<GuestException>());
        });
        return [.. tries];
    }
}
