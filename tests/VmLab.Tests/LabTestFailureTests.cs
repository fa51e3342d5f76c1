using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;
using NUnit.Framework.Internal.Commands;
using VmLab.Core;
using VmLab.Testing;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

public sealed class LabTestFailureTests
{
    [Test]
    public void A_failed_test_tells_where_its_labs_stood_and_closes_them()
    {
        Lab? left = null;
        var method = new MethodWrapper(typeof(LabTestFailureTests), nameof(Body));
        var context = new TestExecutionContext { CurrentResult = new TestMethod(method).MakeTestResult() };

        new LabTestAttribute().Wrap(new Failing(new TestMethod(method), async () =>
        {
            left = await Lab.StartAsync(One(alice => alice.At(1.Milliseconds, () => alice.Prints("hello"))), null, ScriptedMachine.PowerOn);
            await left.RunFor(2.Seconds);
        })).Execute(context);

        Assert.That(context.CurrentResult.Output, Does.StartWith(
            """
            Lab "one", seed 7, stood at 2.000000 s of guest time.
              alice (Running), 2.000000 s, last printed:
                | hello
            The last events of lab "one":
                 0.000000 s  alice     powered on
            Replay: vmlab replay 
            """));
        Assert.That(() => Pump.Run(() => left!.RunFor(1.Seconds), new LabOptions()),
            Throws.TypeOf<LabException>().With.Message.Contains("is closed"));
    }

    static void Body() { }

    sealed class Failing(TestMethod test, Func<Task> script) : TestCommand(test)
    {
        public override TestResult Execute(TestExecutionContext context)
        {
            Pump.Current!.Drive(script);
            context.CurrentResult.SetResult(ResultState.Failure, "no");
            return context.CurrentResult;
        }
    }
}
