using System.Globalization;

namespace VmLab.Labs.Behaviour;

/// <summary>sleep(1) and the kernel's clocks: guest time is exact, so the bounds are tight, and no test is ever flaky.</summary>
public sealed class Timers : Debian
{
    // Starting the command, and the lab's quantum.
    static readonly TimeSpan s_slack = 25.Milliseconds;

    [LabTest]
    public async Task A_sleep_lasts_as_long_as_it_says()
    {
        Lab lab = await Fork();
        List<TimeSpan> late = [];

        foreach (TimeSpan asked in new[] { 50.Milliseconds, 1.Seconds, 60.Seconds, 60.Minutes })
        {
            TimeSpan before = lab.Now;
            await lab[Box].Shell(string.Create(CultureInfo.InvariantCulture, $"sleep {asked.TotalSeconds}"), within: 2 * asked + 1.Seconds);
            late.Add(lab.Now - before - asked);
        }

        Assert.That(late, Has.All.InRange(TimeSpan.Zero, s_slack));
    }

    [LabTest]
    public async Task A_sleep_is_on_time_beside_busy_processes()
    {
        Lab lab = await Fork();
        await lab[Box].Shell("for i in 1 2 3; do while :; do :; done & done");
        TimeSpan before = lab.Now;

        await lab[Box].Shell("sleep 2");

        Assert.That(lab.Now - before, Is.InRange(2.Seconds, 2.Seconds + 60.Milliseconds));   // a few turns of the scheduler
    }

    [LabTest]
    public async Task Uptime_goes_with_time_for_an_hour()
    {
        Lab lab = await Fork();
        TimeSpan began = lab.Now, before = await Uptime(lab);
        await lab.RunFor(60.Minutes);
        TimeSpan gone = await Uptime(lab) - before;

        Assert.That((gone - (lab.Now - began)).Duration(), Is.LessThan(s_slack));
    }

    [LabTest]
    public async Task A_processor_that_stalls_loses_no_time()
    {
        Lab lab = await Fork();
        TimeSpan began = lab.Now, before = await Uptime(lab);
        lab.Inject(Fault.Cpu(Box).Stall(3.Seconds));
        await lab.RunFor(4.Seconds);
        TimeSpan gone = await Uptime(lab) - before;

        Assert.That((gone - (lab.Now - began)).Duration(), Is.LessThan(s_slack));
    }

    [LabTest]
    public async Task A_stall_delays_the_end_of_a_sleep_and_no_more()
    {
        Lab lab = await Fork();
        TimeSpan before = lab.Now;
        Task<ShellResult> sleep = lab[Box].Shell("sleep 1");
        lab.Inject(Fault.Cpu(Box).Stall(1500.Milliseconds).At(lab.Now + 500.Milliseconds));

        await sleep;

        Assert.That(lab.Now - before, Is.InRange(2.Seconds, 2.Seconds + s_slack));
    }

    static async Task<TimeSpan> Uptime(Lab lab) => Seconds((await lab[Box].Shell("cat /proc/uptime")).Output.Split(' ')[0]);

    static TimeSpan Seconds(string text) => TimeSpan.FromSeconds(double.Parse(text, CultureInfo.InvariantCulture));
}
