using Iced.Intel;

namespace VmLab.X86.Tests.Oracle;

/// <summary>Every integer instruction of 32-bit code, as 32-bit programs run it under a 64-bit system, against the host.</summary>
public sealed class NarrowOracleTests() : IntegerOracle(isNarrow: true)
{
    public static IEnumerable<TestCaseData> Mnemonics => Cases(isNarrow: true);

    [TestCaseSource(nameof(Mnemonics))]
    public void Does_what_the_host_does(Mnemonic mnemonic, Code[] codes) => CompareAll(mnemonic, codes, QuickCases / 2);

    [TestCaseSource(nameof(Mnemonics)), Explicit("Millions of cases."), Category("Slow")]
    public void Does_what_the_host_does_at_length(Mnemonic mnemonic, Code[] codes) =>
        CompareAll(mnemonic, codes, SlowCases);
}
