using Iced.Intel;

namespace VmLab.X86.Tests.Oracle;

/// <summary>
/// Every integer instruction that a user program may run in 64-bit mode, against the host's processor.
/// </summary>
public sealed class IntegerOracleTests() : IntegerOracle(isNarrow: false)
{
    public static IEnumerable<TestCaseData> Mnemonics => Cases(isNarrow: false);

    [TestCaseSource(nameof(Mnemonics))]
    public void Does_what_the_host_does(Mnemonic mnemonic, Code[] codes) => CompareAll(mnemonic, codes, QuickCases);

    [TestCaseSource(nameof(Mnemonics)), Explicit("Millions of cases."), Category("Slow")]
    public void Does_what_the_host_does_at_length(Mnemonic mnemonic, Code[] codes) =>
        CompareAll(mnemonic, codes, SlowCases);
}
