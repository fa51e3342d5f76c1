using System.Globalization;
using NUnit.Framework;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;
using NUnit.Framework.Internal.Builders;
using NUnit.Framework.Internal.Commands;

namespace VmLab.Testing;

/// <summary>
/// Marks a test that runs labs: the method, SetUp and TearDown all run on one pump, every continuation included.
/// </summary>
/// <remarks>
/// A failed test prints where its labs stood, what happened last, and the command that replays it, and has its bundle attached;
/// labs left open are closed. NUnit blocks the thread in <c>Assert.ThrowsAsync</c> and in
/// <c>Assert.That(async () => ...)</c>, on which a pump would wait for ever: write <c>await Assert.ThatAsync(...)</c>.
/// OneTimeSetUp is not pumped.
/// </remarks>
[AttributeUsage(AttributeTargets.Method)]
public sealed class LabTestAttribute : TestAttribute, ISimpleTestBuilder, ITestBuilder, IWrapSetUpTearDown
{
    const string SeedProperty = "Seed";
    const int MostSeeds = 100_000, ToldEvents = 20;

    /// <summary>How many cases the test has, with the seeds 1, 2, 3 and so on in place of the fleets' own; 0 is one case with those.</summary>
    public int Seeds { get; set; }

    // NUnit waits for an async method by blocking. Every method of the test is wrapped, so that it is done when NUnit
    // looks.
    TestMethod ISimpleTestBuilder.BuildFrom(IMethodInfo method, Test? suite)
    {
        WrapFixture(suite);
        return BuildFrom(new PumpedMethod(method), suite);
    }

    IEnumerable<TestMethod> ITestBuilder.BuildFrom(IMethodInfo method, Test? suite)
    {
        if (Seeds is < 0 or > MostSeeds) throw new LabException($"[LabTest(Seeds = {Seeds})]: a test has 0 to {MostSeeds} seeds.");
        WrapFixture(suite);
        for (int seed = 1; seed <= Seeds; seed++)
        {
            var parameters = new TestCaseParameters { TestName = string.Create(CultureInfo.InvariantCulture, $"{method.Name}(seed {seed})") };
            parameters.Properties.Set(SeedProperty, seed);
            yield return new NUnitTestCaseBuilder().BuildTestMethod(new PumpedMethod(method), suite, parameters);
        }
    }

    public TestCommand Wrap(TestCommand command) => new PumpCommand(command);

    static void WrapFixture(Test? suite)
    {
        if (suite is null) return;
        Replace(suite, nameof(Test.SetUpMethods), suite.SetUpMethods);
        Replace(suite, nameof(Test.TearDownMethods), suite.TearDownMethods);
    }

    // The property's setter is not public; without it there is no way to SetUp and TearDown.
    static void Replace(Test suite, string property, IMethodInfo[] methods) => typeof(Test).GetProperty(property)!.SetValue(
        suite, methods.Select(method => method as PumpedMethod ?? new PumpedMethod(method)).ToArray<IMethodInfo>());

    sealed class PumpCommand(TestCommand inner) : DelegatingTestCommand(inner)
    {
        public override TestResult Execute(TestExecutionContext context)
        {
            SynchronizationContext? before = SynchronizationContext.Current;
            LabOptions options = LabOptions.FromEnvironment();
            if (Test.Properties.Get(SeedProperty) is int seed) options = options with { Seed = (ulong)seed };
            Pump pump = Pump.Open(options);
            SynchronizationContext.SetSynchronizationContext(pump);
            string? thrown = null;
            try
            {
                return innerCommand.Execute(context);
            }
            catch (Exception failure)
            {
                thrown = failure.Message;
                throw;
            }
            finally
            {
                SynchronizationContext.SetSynchronizationContext(before);
                if (Failed(context) && pump.Labs.Count > 0) Tell(context, pump, thrown ?? context.CurrentResult.Message);
                pump.Close();
            }
        }

        // A test without SetUp and TearDown has its exception pass by here before it is recorded.
        static bool Failed(TestExecutionContext context) =>
            context.CurrentResult.ResultState.Status is TestStatus.Failed or TestStatus.Inconclusive;

        void Tell(TestExecutionContext context, Pump pump, string failure)
        {
            TextWriter output = context.CurrentResult.OutWriter;
            output.WriteLine(pump.Report());
            foreach (Lab lab in pump.Labs)
            {
                output.WriteLine($"The last events of lab \"{lab.Fleet.Name}\":");
                foreach (TimelineEvent happened in lab.Timeline.TakeLast(ToldEvents)) output.WriteLine($"  {happened}");
            }
            try
            {
                var bundle = new FailureBundle
                {
                    Assembly = Test.TypeInfo?.Assembly.Location, Test = Test.FullName, Seed = pump.Options.Seed, Failure = failure,
                };
                string path = FailureBundle.Write(bundle, Test.FullName, new Dictionary<string, byte[]>(), pump);
                output.WriteLine($"Replay: vmlab replay {path}");
                TestContext.AddTestAttachment(path, "what `vmlab replay` runs again");
            }
            catch (LabException trouble)
            {
                output.WriteLine(trouble.Message);   // the test's own failure is the news
            }
        }
    }
}
