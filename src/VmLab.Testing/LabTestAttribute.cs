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
    /// <remarks>
    /// With arguments (<c>[TestCase]</c>, <c>[TestCaseSource]</c>, <c>[Values]</c>) each case of them is one of each seed. NUnit builds the first
    /// seed's itself, so that those do not bear it in their names.
    /// </remarks>
    public int Seeds { get; set; }

    TestMethod ISimpleTestBuilder.BuildFrom(IMethodInfo method, Test? suite)
    {
        WrapFixture(suite);
        return BuildFrom(method, suite);
    }

    // NUnit asks each builder of a method for its cases, those of arguments too, and nothing can be taken from them: what they
    // build for NUnit are the cases of the first seed.
    IEnumerable<TestMethod> ITestBuilder.BuildFrom(IMethodInfo method, Test? suite)
    {
        if (Seeds is < 0 or > MostSeeds) throw new LabException($"[LabTest(Seeds = {Seeds})]: a test has 0 to {MostSeeds} seeds.");
        WrapFixture(suite);
        ITestBuilder[] arguments = BuildersOfArguments(method);
        for (int seed = arguments.Length == 0 ? 1 : 2; seed <= Seeds; seed++)
        {
            IEnumerable<TestMethod> cases = arguments.Length == 0
                ? [new NUnitTestCaseBuilder().BuildTestMethod(method, suite, null)]
                : arguments.SelectMany(builder => builder.BuildFrom(method, suite));
            foreach (TestMethod test in cases) yield return OfSeed(seed, test);
        }
    }

    // NUnit waits for an async method by blocking. Every method of the test is wrapped, so that it is done when NUnit
    // looks.
    public TestCommand Wrap(TestCommand command)
    {
        Test test = command.Test;
        test.Method = test.Method as PumpedMethod ?? new PumpedMethod(test.Method!);
        ulong? first = Seeds > 0 ? 1 : null;
        return new PumpCommand(command, test.Properties.Get(SeedProperty) is int seed ? (ulong)seed : first);
    }

    static ITestBuilder[] BuildersOfArguments(IMethodInfo method)
    {
        ITestBuilder[] builders = [.. method.GetCustomAttributes<ITestBuilder>(false).Where(builder => builder is not LabTestAttribute)];
        bool combines = method.GetParameters().Any(parameter => parameter.IsDefined<IParameterDataSource>(false))
            && !builders.Any(builder => builder is CombiningStrategyAttribute);
        return combines ? [.. builders, new CombinatorialAttribute()] : builders;
    }

    static TestMethod OfSeed(int seed, TestMethod test)
    {
        string name = test.Name;
        test.Properties.Set(SeedProperty, seed);
        test.Name = string.Create(CultureInfo.InvariantCulture, $"{(name.EndsWith(')') ? $"{name[..^1]}," : $"{name}(")}seed {seed})");
        test.FullName = test.FullName[..^name.Length] + test.Name;
        return test;
    }

    static void WrapFixture(Test? suite)
    {
        if (suite is null) return;
        Replace(suite, nameof(Test.SetUpMethods), suite.SetUpMethods);
        Replace(suite, nameof(Test.TearDownMethods), suite.TearDownMethods);
    }

    // The property's setter is not public; without it there is no way to SetUp and TearDown.
    static void Replace(Test suite, string property, IMethodInfo[] methods) => typeof(Test).GetProperty(property)!.SetValue(
        suite, methods.Select(method => method as PumpedMethod ?? new PumpedMethod(method)).ToArray<IMethodInfo>());

    sealed class PumpCommand(TestCommand inner, ulong? seed) : DelegatingTestCommand(inner)
    {
        public override TestResult Execute(TestExecutionContext context)
        {
            SynchronizationContext? before = SynchronizationContext.Current;
            LabOptions options = LabOptions.FromEnvironment();
            Pump pump = Pump.Open(options with { Seed = seed ?? options.Seed });
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
