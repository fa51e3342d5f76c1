namespace VmLab.Labs.Behaviour;

public sealed class Signals : Debian
{
    [LabTest]
    public async Task A_process_that_does_not_catch_TERM_ends_by_it()
    {
        Lab lab = await Fork();

        ShellResult result = await lab[Box].Shell("sleep 100 & kill -TERM $!; wait $!");

        Assert.That(result, Exits.With(128 + 15));
        Assert.That(lab.Now, Is.LessThan(10.Seconds));
    }

    [LabTest]
    public async Task A_handler_runs_and_the_program_goes_on()
    {
        Lab lab = await Fork();

        ShellResult result = await lab[Box].Shell("trap 'echo caught' USR1; kill -USR1 $$; echo after");

        Assert.That(result, Prints.Exactly("caught\nafter"));
    }

    [LabTest]
    public async Task KILL_cannot_be_caught()
    {
        Lab lab = await Fork();

        ShellResult result = await lab[Box].Shell("sh -c 'trap : KILL TERM; kill -TERM $$; echo alive; kill -KILL $$; echo no'");

        Assert.That(result, Exits.With(128 + 9));
        Assert.That(result, Prints.Exactly("alive"));
    }

    [LabTest]
    public async Task A_stopped_process_stands_still_until_it_is_continued()
    {
        Lab lab = await Fork();
        await lab[Box].Shell("(while :; do echo >>/tmp/beats; sleep 0.01; done) & echo $! >/tmp/pid");
        await lab.RunFor(500.Milliseconds);
        await lab[Box].Shell("kill -STOP $(cat /tmp/pid)");

        int stopped = await Beats(lab);
        await lab.RunFor(2.Seconds);
        int later = await Beats(lab);
        await lab[Box].Shell("kill -CONT $(cat /tmp/pid)");
        await lab.RunFor(500.Milliseconds);
        int continued = await Beats(lab);

        Assert.That(stopped, Is.InRange(20, 50));
        Assert.That(later, Is.EqualTo(stopped));
        Assert.That(continued, Is.InRange(stopped + 20, stopped + 50));
    }

    [LabTest]
    public async Task An_alarm_comes_at_its_time()
    {
        Lab lab = await Fork();
        TimeSpan before = lab.Now;

        ShellResult result = await lab[Box].Shell("timeout -s INT 3 sleep 100");

        Assert.That(result.Succeeded, Is.False);
        Assert.That(lab.Now - before, Is.InRange(3.Seconds, 3.Seconds + 100.Milliseconds));
    }

    [LabTest]
    public async Task A_child_that_is_waited_for_leaves_no_zombie()
    {
        Lab lab = await Fork();

        await lab[Box].Shell("i=0; while [ $i -lt 50 ]; do true & i=$((i + 1)); done; wait");

        Assert.That(await lab[Box].Shell("cat /proc/[0-9]*/stat | grep -c ' Z '"), Prints.Exactly("0"));
    }

    static async Task<int> Beats(Lab lab) => int.Parse((await lab[Box].Shell("wc -l </tmp/beats")).Output);
}
