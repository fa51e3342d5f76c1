using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

public sealed class ScheduleTests
{
    static readonly Fleet s_idle = Fleet.Define("idle")
        .Vm("idle", vm => vm.Memory(2.MiB).Boot(Guest.Program(asm => { asm.inc(Iced.Intel.AssemblerRegisters.rax); asm.jmp(0x10_0000UL); })));

    [Test]
    public void A_deed_is_done_at_its_time_once() => Run(One(_ => { }), async lab =>
    {
        var done = new List<TimeSpan>();
        lab.At(12_345.Microseconds).Do(lab => done.Add(lab.Now));

        await lab.RunFor(100.Milliseconds);

        Assert.That(done, Is.EqualTo(new[] { 12_345.Microseconds }));
    });

    [Test]
    public void A_period_comes_again_until_it_is_ended() => Run(One(_ => { }), async lab =>
    {
        var done = new List<double>();
        IDisposable schedule = lab.Every(7.Milliseconds).Do(lab => done.Add(lab.Now.TotalMilliseconds));
        await lab.RunFor(21.Milliseconds);

        schedule.Dispose();
        await lab.RunFor(50.Milliseconds);

        Assert.That(done, Is.EqualTo(new[] { 7, 14, 21 }));
    });

    [Test]
    public void A_time_that_is_over_is_refused() => Run(One(_ => { }), async lab =>
    {
        await lab.RunFor(2.Seconds);

        Assert.That(() => lab.At(1.Seconds), Throws.TypeOf<LabException>().With.Message.Contains("it is 2 s"));
    });

    [Test]
    public void The_latest_moments_are_kept() => OnIdle(async lab =>
    {
        MomentSeries series = lab.Every(10.Milliseconds).Snapshot(keep: 3);

        await lab.RunFor(75.Milliseconds);

        Assert.That(series.Kept.Select(moment => moment.Time.TotalMilliseconds), Is.EqualTo(new[] { 50, 60, 70 }));
        Assert.That(series.Latest.Name, Is.EqualTo("moment 7"));
    });

    [Test]
    public void A_scheduled_restore_happens_once_and_periods_go_on_from_there() => OnIdle(async lab =>
    {
        using Moment start = await lab.Snapshot("start");
        var seen = new List<double>();
        lab.Every(20.Milliseconds).Do(lab => seen.Add(lab.Now.TotalMilliseconds));
        lab.At(50.Milliseconds).Restore(start);

        await Assert.ThatAsync(() => lab.RunFor(60.Milliseconds), Throws.TypeOf<MomentRestoredException>());
        await lab.RunFor(60.Milliseconds);

        Assert.That(seen, Is.EqualTo(new[] { 20, 40, 20, 40, 60 }));
    });

    [Test]
    public void What_must_always_hold_fails_the_lab_where_it_does_not() =>
        Run(One(alice => alice.At(33.Milliseconds, () => alice.Prints("!"))), async lab =>
        {
            lab.Always("alice is silent", () => lab[Alice].Console.Text == "");

            await Assert.ThatAsync(() => lab.RunFor(1.Seconds),
                Throws.TypeOf<InvariantException>().With.Message.StartsWith("It is no longer so that alice is silent."));

            Assert.That(lab.Now, Is.EqualTo(40.Milliseconds));
            await Assert.ThatAsync(() => lab.RunFor(1.Seconds), Throws.TypeOf<InvariantException>());
        });

    [Test]
    public void What_must_sometimes_hold_is_unmet_until_it_does() =>
        Run(One(alice => alice.At(33.Milliseconds, () => alice.Prints("!"))), async lab =>
        {
            lab.Sometimes("alice speaks", () => lab[Alice].Console.Text != "");
            await lab.RunFor(30.Milliseconds);
            Assert.That(lab.Unmet, Is.EqualTo(new[] { "alice speaks" }));

            await lab.RunFor(10.Milliseconds);
            Assert.That(lab.Unmet, Is.Empty);
        });

    [Test]
    public async Task A_script_that_never_met_its_sometimes_fails() => await Assert.ThatAsync(
        () => Lab.RunAsync(s_idle, async lab =>
        {
            lab.Sometimes("it prints", () => lab["idle"].Console.Text != "");
            await lab.RunFor(30.Milliseconds);
        }),
        Throws.TypeOf<InvariantException>().With.Message.StartsWith("It was never so that it prints."));

    static void OnIdle(Func<Lab, Task> script) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(s_idle);
        await script(lab);
    }, new LabOptions());
}
