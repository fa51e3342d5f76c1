using VmLab.Core;
using VmLab.Machines;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

public sealed class ShellTests
{
    [Test]
    public void Boot_waits_until_the_agent_is_there() => Run(
        OneWithAgent((alice, agent) => alice.At(1234.Milliseconds, agent.IsUp)), async lab =>
        {
            await lab.Boot();

            Assert.That(lab.Now, Is.EqualTo(1240.Milliseconds));
            Assert.That(lab.Timeline[^1].ToString(), Is.EqualTo("   1.234000 s  alice     is up"));
        });

    [Test]
    public void A_guest_that_does_not_come_up_is_told() => Assert.That(
        () => Run(OneWithAgent((_, _) => { }), lab => lab.Boot()),
        Throws.TypeOf<LimitReachedException>().With.Message.StartsWith("alice did not come up within 60 s of guest time."));

    [Test]
    public void A_command_brings_output_errors_and_exit_code() => Run(OneWithAgent(Answers((agent, id, _) =>
    {
        agent.Prints(id, "one\n");
        agent.Complains(id, "two\n");
        agent.Prints(id, "three}~\n");
        agent.Exits(id, 3);
    })), async lab =>
    {
        ShellResult result = await lab[Alice].Shell("some command");

        Assert.That(result, Is.EqualTo(new ShellResult("some command", "one\nthree}~\n", "two\n", 3, ShellOutcome.Exited)));
    });

    [Test]
    public void Commands_may_run_side_by_side() => Run(OneWithAgent((alice, agent) =>
    {
        alice.At(1.Milliseconds, agent.IsUp);
        agent.OnRequest = (_, id, command) => alice.At(alice.Now + ulong.Parse(command) * 1_000_000, () => agent.Exits(id, (uint)id));
    }), async lab =>
    {
        Task<ShellResult> slow = lab[Alice].Shell("30"), fast = lab[Alice].Shell("10");

        Assert.That((await fast).ExitCode, Is.EqualTo(2));
        Assert.That(slow.IsCompleted, Is.False);
        Assert.That((await slow).ExitCode, Is.EqualTo(1));
    });

    [Test]
    public void A_command_that_takes_too_long_is_killed_and_told() => Run(OneWithAgent((alice, agent) =>
    {
        alice.At(1.Milliseconds, agent.IsUp);
        agent.OnRequest = (kind, id, _) =>
        {
            if (kind == ScriptedAgent.Run) alice.At(alice.Now + 1, () => agent.Prints(id, "still here\n"));
            else alice.Prints($"killed {id}\n");
        };
    }), async lab =>
    {
        await lab.Boot();
        ShellResult result = await lab[Alice].Shell("sleep 1000", within: 5.Seconds);
        await lab.RunFor(1.Seconds);

        Assert.That(result, Is.EqualTo(new ShellResult("sleep 1000", "still here\n", "", -1, ShellOutcome.TimedOut)));
        Assert.That(lab[Alice].Console.Text, Is.EqualTo("killed 1\n"));
    });

    [TestCase(MachineStatus.PoweredOff)]
    [TestCase(MachineStatus.Reset)]
    public void A_command_on_a_machine_that_loses_power_is_told(MachineStatus status) => Run(OneWithAgent((alice, agent) =>
    {
        alice.At(1.Milliseconds, agent.IsUp);
        alice.At(500.Milliseconds, () => alice.Stops(status));
    }), async lab =>
    {
        await lab.Boot();

        Assert.That((await lab[Alice].Shell("sync")).Outcome, Is.EqualTo(ShellOutcome.PowerLost));
    });

    [Test]
    public void A_panic_ends_what_needs_the_kernel() => Run(OneWithAgent((alice, agent) =>
    {
        alice.At(1.Milliseconds, agent.IsUp);
        alice.At(500.Milliseconds, () => alice.Prints("[    0.5] Kernel panic - not syncing: test\r\n"));
    }), async lab =>
    {
        lab[Alice].MayPanic();
        await lab.Boot();

        Assert.That((await lab[Alice].Shell("sync")).Outcome, Is.EqualTo(ShellOutcome.Panicked));
        Assert.That(() => lab[Alice].Files.Get("/x"),
            Throws.TypeOf<MachineStoppedException>().With.Message.StartsWith("alice did not read /x: its kernel panicked."));
    });

    [Test]
    public void A_panic_that_was_not_announced_fails_the_lab() => Run(OneWithAgent((alice, agent) =>
    {
        alice.At(1.Milliseconds, agent.IsUp);
        alice.At(500.Milliseconds, () => alice.Prints("[    0.5] Kernel panic - not syncing: test\r\n"));
    }), async lab =>
    {
        await lab.Boot();

        await Assert.ThatAsync(() => lab[Alice].Shell("sync"), Throws.TypeOf<KernelPanicException>()
            .With.Message.StartsWith("alice's kernel panicked at 0.500000 s.").And.Message.Contains("MayPanic()").And.Message.Contains("seed 7"));
        await Assert.ThatAsync(() => lab.RunFor(1.Seconds), Throws.TypeOf<KernelPanicException>());
    });

    [Test]
    public void A_triple_fault_under_a_command_is_an_exception() => Assert.That(
        () => Run(OneWithAgent((alice, agent) =>
        {
            alice.At(1.Milliseconds, agent.IsUp);
            alice.At(500.Milliseconds, () => alice.Stops(MachineStatus.TripleFault));
        }), lab => lab[Alice].Shell("sync")),
        Throws.TypeOf<MachineStoppedException>().With.Message.StartsWith("alice did not end `sync`: it stopped at a triple fault"));

    [Test]
    public void Files_go_in_and_out() => Run(OneWithAgent((alice, agent) =>
    {
        alice.At(1.Milliseconds, agent.IsUp);
        string kept = "";
        agent.OnRequest = (kind, id, text) => alice.At(alice.Now + 1, () =>
        {
            if (kind == ScriptedAgent.Data) kept = text;
            else if (kind == ScriptedAgent.End) agent.Keeps(id);
            else if (kind == ScriptedAgent.Get) agent.Has(id, kept);
        });
    }), async lab =>
    {
        await lab[Alice].Files.Put("/f", "content");

        Assert.That(await lab[Alice].Files.GetText("/f"), Is.EqualTo("content"));
    });

    [Test]
    public void A_file_that_is_not_there_is_the_guests_own_reason() => Assert.That(
        () => Run(OneWithAgent(Answers((agent, id, _) => agent.Fails(id, 2))), lab => lab[Alice].Files.Get("/nothing")),
        Throws.TypeOf<GuestException>().With.Message.Match("alice could not read /nothing: .*[Nn]o such file"));

    [Test]
    public void A_guest_without_a_channel_says_so() => Assert.That(
        () => Run(One(_ => { }), lab => lab[Alice].Shell("true")),
        Throws.TypeOf<LabException>().With.Message.Contains("serves no command channel"));

    [Test]
    public void PowerCycle_waits_for_the_guest_to_be_back() => Run(
        OneWithAgent((alice, agent) => alice.At(100.Milliseconds, agent.IsUp)), async lab =>
        {
            await lab.Boot();
            await lab[Alice].PowerCycle();

            Assert.That(lab.Now, Is.EqualTo(200.Milliseconds));
        });

    static Action<ScriptedMachine, ScriptedAgent> Answers(Action<ScriptedAgent, uint, string> answer) => (alice, agent) =>
    {
        alice.At(1.Milliseconds, agent.IsUp);
        agent.OnRequest = (_, id, text) => alice.At(alice.Now + 1_000_000, () => answer(agent, id, text));
    };
}
