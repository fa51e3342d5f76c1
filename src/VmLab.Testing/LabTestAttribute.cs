using NUnit.Framework;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;
using NUnit.Framework.Internal.Commands;

namespace VmLab.Testing;

/// <summary>
/// Marks a test that runs labs: the method, SetUp and TearDown all run on one pump, every continuation included.
/// </summary>
/// <remarks>
/// A failed test prints where its labs stood; labs left open are closed. NUnit blocks the thread in
/// <c>Assert.ThrowsAsync</c> and in
/// <c>Assert.That(async () => ...)</c>, on which a pump would wait for ever: write <c>await Assert.ThatAsync(...)</c>.
/// OneTimeSetUp is not pumped.
/// </remarks>
[AttributeUsage(AttributeTargets.Method)]
public sealed class LabTestAttribute : TestAttribute, ISimpleTestBuilder, IWrapSetUpTearDown
{
    // NUnit waits for an async method by blocking. Every method of the test is wrapped, so that it is done when NUnit
    // looks.
    TestMethod ISimpleTestBuilder.BuildFrom(IMethodInfo method, Test? suite)
    {
        if (suite is not null)
        {
            Replace(suite, nameof(Test.SetUpMethods), suite.SetUpMethods);
            Replace(suite, nameof(Test.TearDownMethods), suite.TearDownMethods);
        }
        return BuildFrom(new PumpedMethod(method), suite);
    }

    public TestCommand Wrap(TestCommand command) => new PumpCommand(command);

    // The property's setter is not public; without it there is no way to SetUp and TearDown.
    static void Replace(Test suite, string property, IMethodInfo[] methods) => typeof(Test).GetProperty(property)!.SetValue(
        suite, methods.Select(method => method as PumpedMethod ?? new PumpedMethod(method)).ToArray<IMethodInfo>());

    sealed class PumpCommand(TestCommand inner) : DelegatingTestCommand(inner)
    {
        public override TestResult Execute(TestExecutionContext context)
        {
            SynchronizationContext? before = SynchronizationContext.Current;
            Pump pump = Pump.Open();
            SynchronizationContext.SetSynchronizationContext(pump);
            try
            {
                return innerCommand.Execute(context);
            }
            finally
            {
                SynchronizationContext.SetSynchronizationContext(before);
                if (Failed(context) && pump.Labs.Count > 0) context.CurrentResult.OutWriter.WriteLine(pump.Report());
                pump.Close();
            }
        }

        // A test without SetUp and TearDown has its exception pass by here before it is recorded.
        static bool Failed(TestExecutionContext context) =>
            context.CurrentResult.ResultState.Status is TestStatus.Failed or TestStatus.Inconclusive;
    }
}
