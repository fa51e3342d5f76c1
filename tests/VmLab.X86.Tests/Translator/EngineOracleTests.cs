using VmLab.X86.Oracle;

namespace VmLab.X86.Tests.Translator;

/// <summary>Translated code does what the interpreter does, to the last bit.</summary>
public sealed class EngineOracleTests
{
    const ulong QuickCases = 20_000, SlowCases = 3_000_000;

    [Test]
    public void A_few_random_instructions_leave_the_same_state_on_both_engines() => Run(QuickCases);

    [Test, Explicit("Millions of cases."), Category("Slow")]
    public void A_few_random_instructions_leave_the_same_state_on_both_engines_at_length() => Run(SlowCases);

    static void Run(ulong cases)
    {
        if (!OperatingSystem.IsLinux()) Assert.Ignore("Code is translated on Linux only.");
        using var oracle = new EngineOracle(1);
        Assert.That(oracle.Run(0, cases), Is.Empty);
        Assert.That(oracle.TranslatedBlocks, Is.GreaterThan(cases / 20));
    }
}
