using System.Globalization;
using System.IO.Compression;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;
using NUnit.Framework.Internal.Builders;
using NUnit.Framework.Internal.Commands;
using VmLab.Testing;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

/// <summary>A test over many seeds: a case each, named by it, and what its failure leaves behind.</summary>
public sealed class SeededTestTests
{
    [LabTest(Seeds = 3)]
    public async Task Each_case_runs_with_the_seed_in_its_name()
    {
        await using Lab lab = await Lab.StartAsync(One(_ => { }), null, ScriptedMachine.PowerOn);

        Assert.That(TestContext.CurrentContext.Test.Name, Is.EqualTo($"Each_case_runs_with_the_seed_in_its_name(seed {lab.Seed})"));
        Assert.That(lab.Seed, Is.InRange(1, 3));
    }

    [Test]
    public void A_test_has_a_case_a_seed()
    {
        var method = new MethodWrapper(typeof(SeededTestTests), nameof(Each_case_runs_with_the_seed_in_its_name));

        string[] names = [.. ((ITestBuilder)new LabTestAttribute { Seeds = 3 }).BuildFrom(method, null).Select(test => test.Name)];

        Assert.That(names, Is.EqualTo(Enumerable.Range(1, 3).Select(seed => $"{method.Name}(seed {seed})")));
        Assert.That(((ITestBuilder)new LabTestAttribute()).BuildFrom(method, null), Is.Empty);
    }

    [LabTest(Seeds = 2)]
    [TestCase("a")]
    [TestCase("b", TestName = "Other")]
    public async Task Each_case_of_arguments_runs_with_each_seed(string text)
    {
        await using Lab lab = await Lab.StartAsync(One(_ => { }), null, ScriptedMachine.PowerOn);
        await lab.RunFor(1.Seconds);

        Assert.That($"{text}{lab.Seed} {TestContext.CurrentContext.Test.Name}", Is.AnyOf(
            "a1 Each_case_of_arguments_runs_with_each_seed(\"a\")", "a2 Each_case_of_arguments_runs_with_each_seed(\"a\",seed 2)",
            "b1 Other", "b2 Other(seed 2)"));
    }

    [LabTest(Seeds = 2)]
    public async Task Each_value_of_a_parameter_runs_with_each_seed([Values(3)] int value)
    {
        await using Lab lab = await Lab.StartAsync(One(_ => { }), null, ScriptedMachine.PowerOn);

        Assert.That($"{value}{lab.Seed} {TestContext.CurrentContext.Test.Name}", Is.AnyOf(
            "31 Each_value_of_a_parameter_runs_with_each_seed(3)", "32 Each_value_of_a_parameter_runs_with_each_seed(3,seed 2)"));
    }

    [LabTest]
    [TestCase(1)]
    public async Task Arguments_without_seeds_leave_the_fleets_own(int argument)
    {
        await using Lab lab = await Lab.StartAsync(One(_ => { }), null, ScriptedMachine.PowerOn);
        await lab.RunFor(argument * 1.Seconds);

        Assert.That((lab.Seed, lab.Now), Is.EqualTo((7, 1.Seconds)));
    }

    [TestCase(nameof(Each_case_of_arguments_runs_with_each_seed), new[] { "Other", "Other(seed 2)", "{0}(\"a\")", "{0}(\"a\",seed 2)" })]
    [TestCase(nameof(Each_value_of_a_parameter_runs_with_each_seed), new[] { "{0}(3)", "{0}(3,seed 2)" })]
    [TestCase(nameof(Arguments_without_seeds_leave_the_fleets_own), new[] { "{0}(1)" })]
    public void A_test_with_arguments_has_a_case_for_each_and_each_seed(string name, string[] cases)
    {
        Test suite = new DefaultTestCaseBuilder().BuildFrom(new MethodWrapper(typeof(SeededTestTests), name));

        Assert.That(suite.Tests.Select(test => test.Name), Is.EquivalentTo(cases.Select(text => string.Format(CultureInfo.InvariantCulture, text, name))));
        Assert.That(suite.Tests.Select(test => test.FullName), Is.EquivalentTo(suite.Tests.Select(test => $"{typeof(SeededTestTests).FullName}.{test.Name}")));
        Assert.That(suite.Tests.Select(test => test.RunState), Has.All.EqualTo(RunState.Runnable));
    }

    [Test]
    public void A_failed_case_leaves_a_bundle_with_test_seed_and_faults()
    {
        var method = new MethodWrapper(typeof(SeededTestTests), nameof(Each_case_runs_with_the_seed_in_its_name));
        TestMethod test = ((ITestBuilder)new LabTestAttribute { Seeds = 2 }).BuildFrom(method, null).Last();
        var context = new TestExecutionContext { CurrentResult = test.MakeTestResult() };

        new LabTestAttribute().Wrap(new Failing(test)).Execute(context);

        string output = context.CurrentResult.Output, path = output[(output.IndexOf("vmlab replay ", StringComparison.Ordinal) + 13)..].Trim();
        Assert.That(output, Does.Contain("seed 2, stood at 2.000000 s").And.Contain("powered on").And.Contain("\nReplay: vmlab replay "));
        using ZipArchive zip = ZipFile.OpenRead(path);
        using var reader = new StreamReader(zip.GetEntry("bundle.json")!.Open());
        Assert.That(reader.ReadToEnd(), Does.Contain("(seed 2)").And.Contain("\"Seed\": 2").And.Contain("VmLab.Tests.dll").And.Contain("it is wrong"));
    }

    sealed class Failing(TestMethod test) : TestCommand(test)
    {
        public override TestResult Execute(TestExecutionContext context)
        {
            Pump.Current!.Drive(async () =>
            {
                Lab lab = await Lab.StartAsync(One(alice => alice.At(1.Milliseconds, () => alice.Prints("hello"))), null, ScriptedMachine.PowerOn);
                await lab.RunFor(2.Seconds);
            });
            context.CurrentResult.SetResult(ResultState.Failure, "it is wrong");
            return context.CurrentResult;
        }
    }
}
