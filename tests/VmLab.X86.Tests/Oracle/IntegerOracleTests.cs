using System.Text;
using Iced.Intel;
using VmLab.X86.Tests.Native;

namespace VmLab.X86.Tests.Oracle;

/// <summary>
/// Every integer instruction that a user program may run in 64-bit mode, against the host's processor.
/// </summary>
public sealed class IntegerOracleTests
{
    const int QuickCases = 120, SlowCases = 20_000;

    NativeCpu _native = null!;
    GuestCpu _guest = null!;

    public static IEnumerable<TestCaseData> Mnemonics =>
        IntegerForms.ByMnemonic.Select(group => new TestCaseData(group.Key, group.ToArray()).SetArgDisplayNames(group.Key.ToString()));

    [OneTimeSetUp]
    public void Start()
    {
        _native = new NativeCpu();
        _guest = new GuestCpu();
        new Random(7).NextBytes(_native.Data);
        new Random(8).NextBytes(_native.Stack);
        _guest.Copy(_native);
    }

    [OneTimeTearDown]
    public void Stop()
    {
        _guest?.Dispose();
        _native?.Dispose();
    }

    [TestCaseSource(nameof(Mnemonics))]
    public void Does_what_the_host_does(Mnemonic mnemonic, Code[] codes) => CompareAll(mnemonic, codes, QuickCases);

    [TestCaseSource(nameof(Mnemonics)), Explicit("Millions of cases."), Category("Slow")]
    public void Does_what_the_host_does_at_length(Mnemonic mnemonic, Code[] codes) => CompareAll(mnemonic, codes, SlowCases);

    void CompareAll(Mnemonic mnemonic, Code[] codes, int cases)
    {
        var random = new Random((int)mnemonic);
        var generator = new CaseGenerator(random, ReadNative);
        (OracleCase Case, string Report)? simplest = null;
        int failures = 0;
        foreach (Code code in codes)
            for (int i = 0; i < cases; i++)
            {
                OracleCase test = generator.Next(code);
                if (Compare(test, random) is not { } report) continue;
                failures++;
                if (simplest is null || test.Complexity < simplest.Value.Case.Complexity) simplest = (test, report);
            }
        Assert.That(failures, Is.Zero, () => $"{failures} of {codes.Length * cases} cases differ; the simplest:\n{simplest!.Value.Report}");
    }

    /// <returns>What differs, or <see langword="null"/>.</returns>
    string? Compare(OracleCase test, Random random)
    {
        foreach (var (address, value) in test.Stores)
        {
            WriteNative(address, value);
            _guest.Store(address, value);
        }
        test.Gpr.CopyTo(_native.Gpr);
        _native.Flags = test.Flags;
        ulong rip = _native.Run(test.Address, test.Bytes);
        uint repeats = (uint)test.Gpr[Gpr.Rcx] - (uint)_native.Gpr[Gpr.Rcx];
        _guest.Run(test, test.Repeats ? ulong.Max(1, repeats) : 1, random);
        return UndefinedFlags.HasUndefinedResult(test) ? Forget() : Differences(test, rip);
    }

    string? Forget()
    {
        _guest.Copy(_native);
        return null;
    }

    unsafe string? Differences(OracleCase test, ulong rip)
    {
        CpuState* s = _guest.State;
        ulong flagsMask = (Rflags.Arithmetic | Rflags.Direction | Rflags.Identification) & ~UndefinedFlags.Of(test);
        ulong flags = X86.Flags.All(s);
        bool isEqual = _guest.Trouble is null && s->Rip == rip && (flags & flagsMask) == (_native.Flags & flagsMask)
            && new ReadOnlySpan<ulong>(s->Gpr, 16).SequenceEqual(_native.Gpr) && _guest.HasMemory(_native);
        if (isEqual) return null;

        var text = new StringBuilder().AppendLine(test.ToString());
        if (_guest.Trouble is { } trouble) text.AppendLine($"  the guest {trouble}");
        if (s->Rip != rip) text.AppendLine($"  rip: guest {s->Rip:X}, host {rip:X}");
        for (int i = 0; i < 16; i++)
            text.AppendLine($"  {OracleCase.Name(i),-3} in {test.Gpr[i],16:X}"
                + (s->Gpr[i] != _native.Gpr[i] ? $"  guest {s->Gpr[i]:X}, host {_native.Gpr[i]:X}  <<<" : s->Gpr[i] != test.Gpr[i] ? $"  out {s->Gpr[i]:X}" : ""));
        text.AppendLine($"  flags in [{Names(test.Flags)}] guest [{Names(flags & flagsMask)}] host [{Names(_native.Flags & flagsMask)}]"
            + ((flags & flagsMask) != (_native.Flags & flagsMask) ? "  <<<" : ""));
        foreach (string difference in _guest.Differences(_native)) text.AppendLine($"  {difference}");
        _guest.Copy(_native);
        return text.ToString();
    }

    static string Names(ulong flags)
    {
        (ulong Bit, string Name)[] all =
            [(Rflags.Carry, "C"), (Rflags.Parity, "P"), (Rflags.Adjust, "A"), (Rflags.Zero, "Z"), (Rflags.Sign, "S"), (Rflags.Overflow, "O"), (Rflags.Direction, "D")];
        return string.Join(' ', all.Where(flag => (flags & flag.Bit) != 0).Select(flag => flag.Name));
    }

    // SAFETY: the generator only asks for addresses of the native data pages and stack.
    static unsafe ulong ReadNative(ulong address) => *(ulong*)address;
    static unsafe void WriteNative(ulong address, ulong value) => *(ulong*)address = value;
}
