using System.Runtime.Versioning;
using VmLab.X86.Oracle;
using VmLab.X86.Tests.Native;

namespace VmLab.X86.Tests.Oracle;

/// <summary>
/// Every form that CPUID announces, faults and random bytes included, against the host's processor;
/// <c>scripts/processor.csx</c> runs more of the same.
/// </summary>
[SupportedOSPlatform("linux")]
public sealed class ProcessorOracleTests
{
    const ulong QuickCases = 60_000, SlowCases = 10_000_000;

    [Test]
    public void No_form_differs_from_the_hosts() => Compare(seed: 1, QuickCases);

    [Test, Explicit("Ten million cases."), Category("Slow")]
    public void No_form_differs_from_the_hosts_at_length() => Compare(seed: 2, SlowCases);

    static void Compare(ulong seed, ulong cases)
    {
        NativeCode.SkipElsewhere();
        using var oracle = new ProcessorOracle(seed);

        OracleResult result = oracle.Run(0, cases);

        Assert.Multiple(() =>
        {
            Assert.That(result.Untested, Is.Empty);
            Assert.That(result.Reports, Is.Empty, result.ToString());
        });
    }
}
