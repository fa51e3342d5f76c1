using System.Text;
using Iced.Intel;
using VmLab.X86.Tests.Native;

namespace VmLab.X86.Tests.Oracle;

/// <summary>
/// Draws cases of an instruction, runs them on the host and in a guest, and compares all that may be compared.
/// </summary>
/// <param name="isNarrow">32-bit code.</param>
public abstract class IntegerOracle(bool isNarrow)
{
    protected const int QuickCases = 120, SlowCases = 20_000;

    NativeCpu _native = null!;
    GuestCpu _guest = null!;

    protected static IEnumerable<TestCaseData> Cases(bool isNarrow) => IntegerForms.Of(isNarrow)
        .Select(group => new TestCaseData(group.Key, group.ToArray()).SetArgDisplayNames(group.Key.ToString()));

    [OneTimeSetUp]
    public void Start()
    {
        _native = new NativeCpu(isNarrow);
        _guest = new GuestCpu(isNarrow);
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

    protected void CompareAll(Mnemonic mnemonic, Code[] codes, int cases)
    {
        var random = new Random((int)mnemonic);
        var generator = new CaseGenerator(random, ReadNative, isNarrow);
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
        Assert.That(failures, Is.Zero, () =>
            $"{failures} of {codes.Length * cases} cases differ; the simplest:\n{simplest!.Value.Report}");
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
        if (isNarrow) TakeLowHalves();
        return UndefinedFlags.HasUndefinedResult(test) ? Forget() : Differences(test, rip);
    }

    // What a change of mode does to the upper halves is undefined.
    unsafe void TakeLowHalves()
    {
        for (int i = 0; i < 16; i++)
        {
            _guest.State->Gpr[i] = i < 8 ? (uint)_guest.State->Gpr[i] : 0;
            _native.Gpr[i] = i < 8 ? (uint)_native.Gpr[i] : 0;
        }
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
                + (s->Gpr[i] != _native.Gpr[i] ? $"  guest {s->Gpr[i]:X}, host {_native.Gpr[i]:X}  <<<"
                    : s->Gpr[i] != test.Gpr[i] ? $"  out {s->Gpr[i]:X}" : ""));
        text.AppendLine($"  flags in [{Names(test.Flags)}] guest [{Names(flags & flagsMask)}] host [{Names(_native.Flags & flagsMask)}]"
            + ((flags & flagsMask) != (_native.Flags & flagsMask) ? "  <<<" : ""));
        foreach (string difference in _guest.Differences(_native)) text.AppendLine($"  {difference}");
        _guest.Copy(_native);
        return text.ToString();
    }

    static string Names(ulong flags)
    {
        (ulong Bit, string Name)[] all =
            [(Rflags.Carry, "C"), (Rflags.Parity, "P"), (Rflags.Adjust, "A"), (Rflags.Zero, "Z"), (Rflags.Sign, "S"),
                (Rflags.Overflow, "O"), (Rflags.Direction, "D")];
        return string.Join(' ', all.Where(flag => (flags & flag.Bit) != 0).Select(flag => flag.Name));
    }

    // SAFETY: the generator only asks for addresses of the native data pages and stack.
    static unsafe ulong ReadNative(ulong address) => *(ulong*)address;
    static unsafe void WriteNative(ulong address, ulong value) => *(ulong*)address = value;
}
