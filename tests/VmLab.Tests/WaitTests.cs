using VmLab.Core;
using VmLab.Machines;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

public sealed class WaitTests
{
    [Test]
    public void RunFor_stops_exactly_at_its_time() => Run(One(_ => { }), async lab =>
    {
        await lab.RunFor(TimeSpan.FromTicks(12_345_678));
        await lab.RunFor(TimeSpan.FromTicks(1));

        Assert.That(lab.Now, Is.EqualTo(TimeSpan.FromTicks(12_345_679)));
        Assert.That(lab[Alice].Now, Is.EqualTo(lab.Now));
    });

    [Test]
    public void RunFor_goes_on_when_every_machine_has_stopped() =>
        Run(One(alice => alice.At(1.Milliseconds, () => alice.Stops(MachineStatus.Stuck))), async lab =>
        {
            await lab.RunFor(2.Seconds);

            Assert.That((lab.Now, lab[Alice].Now), Is.EqualTo((2.Seconds, 1.Milliseconds)));
        });

    [Test]
    public void Until_asks_at_the_end_of_every_quantum() =>
        Run(One(alice => alice.At(12.Milliseconds, () => alice.Prints("x"))), async lab =>
        {
            await lab.Until(() => lab[Alice].Console.Text == "x");

            Assert.That(lab.Now, Is.EqualTo(20.Milliseconds));
        });

    [Test]
    public void Every_await_ends_at_a_limit_that_the_message_names() => Run(
        One(alice => alice.At(3.Milliseconds, () => alice.Prints("Booting\r\nBusy"))), async lab =>
        {
            var failure = await Thrown<LimitReachedException>(lab[Alice].Console.Expect("login: "));

            Assert.That(lab.Now, Is.EqualTo(60.Seconds));
            Assert.That(failure.Message, Is.EqualTo(
                """
                alice's console did not show "login: " within 60 s of guest time.
                Lab "one", seed 7, stood at 60.000000 s of guest time.
                  alice (Running), 60.000000 s, last printed:
                    | Booting
                    | Busy
                """));
        });

    [Test]
    public void A_limit_may_be_stated() => Run(One(_ => { }), async lab =>
    {
        await Thrown<LimitReachedException>(lab.Until(() => false, within: 15.Milliseconds));

        Assert.That(lab.Now, Is.EqualTo(15.Milliseconds));
    });

    [TestCase(MachineStatus.TripleFault, "it stopped at a triple fault")]
    [TestCase(MachineStatus.PoweredOff, "it is powered off")]
    [TestCase(MachineStatus.Stuck, "it is stuck")]
    public void A_machine_that_stops_ends_what_is_awaited_of_it(MachineStatus status, string why) => Run(
        Two(alice => alice.At(25.Milliseconds, () => { alice.Prints("oh no"); alice.Stops(status); }), _ => { }), async lab =>
        {
            var failure = await Thrown<MachineStoppedException>(lab[Alice].Console.Expect("login: "));

            Assert.That(lab.Now, Is.EqualTo(30.Milliseconds));
            Assert.That(failure.Message, Does.Contain(why).And.Contain("0.025000 s").And.Contain("| oh no").And.Contain("seed 7"));
        });

    [Test]
    public void A_condition_is_hopeless_once_no_machine_runs() => Run(
        One(alice => alice.At(25.Milliseconds, () => alice.Stops(MachineStatus.PoweredOff))), async lab =>
        {
            var failure = await Thrown<MachineStoppedException>(lab.Until(() => false));

            Assert.That(failure.What, Is.EqualTo("The condition did not come to hold: no machine runs any more."));
        });

    [Test]
    public void Stopped_tells_how_a_machine_ended() => Run(
        One(alice => alice.At(25.Milliseconds, () => alice.Stops(MachineStatus.Stuck))), async lab =>
            Assert.That(await lab[Alice].Stopped(), Is.EqualTo(MachineStatus.Stuck)));

    [Test]
    public void A_condition_that_throws_ends_its_own_await() => Run(One(_ => { }), async lab =>
        await Thrown<InvalidTimeZoneException>(lab.Until(() => lab.Now > 1.Seconds ? throw new InvalidTimeZoneException() : false)));

    [Test]
    public void A_cancelled_await_ends_at_once_and_lets_the_lab_stand() => Run(One(_ => { }), async lab =>
    {
        using var source = new CancellationTokenSource();
        Task endless = lab.Until(() => { if (lab.Now >= 50.Milliseconds) source.Cancel(); return false; }, cancellation: source.Token);

        await Thrown<TaskCanceledException>(endless);

        Assert.That(lab.Now, Is.EqualTo(50.Milliseconds));
    });

    [Test]
    public void Stop_ends_every_await_of_every_lab()
    {
        using var source = new CancellationTokenSource();
        var options = new LabOptions { Stop = source.Token };
        Assert.That(
            () => Run(One(_ => { }), lab => Task.WhenAll(
                lab.RunFor(3600.Seconds),
                lab.Until(() => { if (lab.Now >= 50.Milliseconds) source.Cancel(); return false; })), options),
            Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public void Closing_a_lab_ends_what_is_awaited() => Run(One(_ => { }), async lab =>
    {
        Task endless = lab.Until(() => false);
        await lab.DisposeAsync();

        Assert.That((await Thrown<LabException>(endless)).Message, Does.Contain("was closed"));
    });

    [Test]
    public void A_machine_that_throws_is_infrastructure() => Run(
        One(alice => alice.At(25.Milliseconds, () => throw new InvalidTimeZoneException("bug"))), async lab =>
        {
            var failure = await Thrown<InfrastructureException>(lab.RunFor(1.Seconds));

            Assert.That(failure.Message, Does.StartWith("VmLab itself failed while alice ran: bug"));
            Assert.That(failure.InnerException, Is.TypeOf<InvalidTimeZoneException>());
        });

    static async Task<T> Thrown<T>(Task task)
        where T : Exception
    {
        try
        {
            await task;
        }
        catch (T expected)
        {
            return expected;
        }
        throw new AssertionException($"A {typeof(T).Name} was expected.");
    }
}
