using VmLab.Core;

namespace VmLab.Tests;

public sealed class PumpTests
{
    [Test]
    public void Every_continuation_runs_on_the_thread_of_the_pump()
    {
        int here = Environment.CurrentManagedThreadId;
        List<int> threads = [];

        Scenario.Run(Scenario.One(_ => { }), async lab =>
        {
            threads.Add(Environment.CurrentManagedThreadId);
            await lab.RunFor(1.Seconds);
            threads.Add(Environment.CurrentManagedThreadId);
            await Task.Yield();
            threads.Add(Environment.CurrentManagedThreadId);
            await Task.WhenAll(lab.RunFor(5.Milliseconds), lab.RunFor(7.Milliseconds));
            threads.Add(Environment.CurrentManagedThreadId);
            await Task.Run(() => { });   // the world outside: comes back to the pump all the same
            threads.Add(Environment.CurrentManagedThreadId);
        });

        Assert.That(threads, Is.EqualTo(Enumerable.Repeat(here, 5)));
    }

    [Test]
    public void A_lab_stands_still_while_nothing_of_it_is_awaited() => Scenario.Run(Scenario.One(_ => { }), async lab =>
    {
        await lab.RunFor(1.Seconds);
        for (int i = 0; i < 100; i++) await Task.Yield();

        Assert.That(lab.Now, Is.EqualTo(1.Seconds));
    });

    [Test]
    public void Two_labs_of_a_pump_keep_their_own_time() => Pump.Run(async () =>
    {
        Fleet fleet = Scenario.One(_ => { });
        await using Lab first = await Lab.StartAsync(fleet, null, ScriptedMachine.PowerOn);
        await using Lab second = await Lab.StartAsync(fleet, null, ScriptedMachine.PowerOn);

        Task slow = second.RunFor(3.Seconds);
        await first.RunFor(1.Seconds);
        await slow;

        Assert.That((first.Now, second.Now), Is.EqualTo((1.Seconds, 3.Seconds)));
    }, new LabOptions());

    [Test]
    public void What_a_script_throws_comes_out_of_the_pump() => Assert.That(
        () => Scenario.Run(Scenario.One(_ => { }), async lab =>
        {
            await lab.RunFor(1.Milliseconds);
            throw new InvalidTimeZoneException();
        }),
        Throws.TypeOf<InvalidTimeZoneException>());

    [Test]
    public void A_pump_within_a_pump_is_refused() => Assert.That(
        () => Pump.Run(() =>
        {
            Pump.Run(() => Task.CompletedTask);
            return Task.CompletedTask;
        }, new LabOptions()),
        Throws.TypeOf<LabException>().With.Message.Contains("on a lab's pump already"));

    [Test]
    public void A_lab_without_a_pump_is_refused() => Assert.That(
        () => Lab.StartAsync(Scenario.One(_ => { })),
        Throws.TypeOf<LabException>().With.Message.Contains("needs a pump"));

    [Test]
    public void A_lab_used_off_its_pump_is_refused() => Assert.That(
        () => Scenario.Run(Scenario.One(_ => { }), lab => Task.Run(() => lab.RunFor(1.Seconds))),
        Throws.TypeOf<LabException>().With.Message.Contains("off its pump's thread"));
}
