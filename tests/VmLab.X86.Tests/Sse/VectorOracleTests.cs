using System.Runtime.InteropServices;
using Iced.Intel;
using VmLab.Core;
using VmLab.X86.Tests.Native;

namespace VmLab.X86.Tests.Sse;

/// <summary>Every encoding of MMX and SSE to SSE4.2, with registers and memory, against the host's processor.</summary>
public sealed unsafe class VectorOracleTests
{
    const int Forms = 12, StatesPerForm = 60, TrappingStatesPerForm = 15, PendingStatesPerForm = 2;
    const int SlowStatesPerForm = 1_000;
    const uint Sticky = 0x3F, Masks = 0x1F80, RoundingAndZeroing = 0xE040;

    static readonly CpuidFeature[] s_features =
    [
        CpuidFeature.MMX, CpuidFeature.SSE, CpuidFeature.SSE2, CpuidFeature.SSE3, CpuidFeature.SSSE3,
        CpuidFeature.SSE4_1, CpuidFeature.SSE4_2,
    ];

    // No vector instructions, tested elsewhere; or approximations, on which the makers of processors do not agree.
    static readonly Mnemonic[] s_others =
    [
        Mnemonic.Crc32, Mnemonic.Movnti, Mnemonic.Lfence, Mnemonic.Mfence, Mnemonic.Sfence, Mnemonic.Pause,
        Mnemonic.Fisttp, Mnemonic.Clflush, Mnemonic.Prefetchnta, Mnemonic.Prefetcht0, Mnemonic.Prefetcht1,
        Mnemonic.Prefetcht2, Mnemonic.Monitor, Mnemonic.Mwait,
        Mnemonic.Rcpss, Mnemonic.Rcpps, Mnemonic.Rsqrtss, Mnemonic.Rsqrtps,
    ];

    VectorGuest _guest = null!;
    FloatTrap _trap = null!;
    VectorState* _before, _host, _ours;

    [OneTimeSetUp]
    public void SetUp()
    {
        NativeCode.SkipElsewhere();
        if (!HasSse42) Assert.Ignore("The oracle is the host's own processor: this test needs SSE4.2.");
        _guest = new VectorGuest();
        _trap = new FloatTrap();
        _before = VectorState.Allocate();
        _host = VectorState.Allocate();
        _ours = VectorState.Allocate();
        Assert.That(sizeof(VectorState), Is.EqualTo(VectorState.Size));
    }

    [OneTimeTearDown]
    public void TearDown()
    {
        _guest?.Dispose();
        _trap?.Dispose();
        NativeMemory.AlignedFree(_before);
        NativeMemory.AlignedFree(_host);
        NativeMemory.AlignedFree(_ours);
    }

    [TestCaseSource(nameof(Codes))]
    public void Does_what_the_host_does(Code code) => Compare(code, StatesPerForm, seed: 1, Masked);

    [TestCaseSource(nameof(Codes))]
    public void Raises_what_the_host_raises(Code code) => Compare(code, TrappingStatesPerForm, seed: 2, Unmasked);

    [TestCaseSource(nameof(Codes))]
    public void Waits_for_the_x87_as_the_host_does(Code code) =>
        Compare(code, PendingStatesPerForm, seed: 3, (ref _) => Masks, hasPending: true);

    [TestCaseSource(nameof(Codes)), Explicit("Millions of instructions."), Category("Slow")]
    public void Does_what_the_host_does_at_length(Code code)
    {
        Compare(code, SlowStatesPerForm, seed: 4, Masked);
        Compare(code, SlowStatesPerForm, seed: 5, Unmasked);
    }

    // The host's own word, not the runtime's, which may be told to do without.
    static bool HasSse42 =>
        File.ReadLines("/proc/cpuinfo").Any(line => line.StartsWith("flags") && line.Contains(" sse4_2"));

    public static IEnumerable<Code> Codes => Enum.GetValues<Code>().Where(code =>
        code.Encoding() == EncodingKind.Legacy && code.ToOpCode().Mode64 && !s_others.Contains(code.Mnemonic())
        && code.CpuidFeatures().Any(s_features.Contains));

    delegate uint Controls(ref Rng rng);

    static uint Masked(ref Rng rng) =>
        Masks | (uint)rng.Next() & Sticky | (uint)(rng.Next() & rng.Next()) & RoundingAndZeroing;

    static uint Unmasked(ref Rng rng) =>
        (uint)rng.Next() & (Masks | Sticky | RoundingAndZeroing) & ~((uint)rng.Next() & Sticky);

    void Compare(Code code, int states, ulong seed, Controls controls, bool hasPending = false)
    {
        var rng = Rng.FromSeed(seed + (ulong)code);
        var differences = new List<string>();
        for (int i = 0; i < Forms; i++)
        {
            var form = new VectorCase(code, ref rng);
            byte[] bytes = form.Bytes;
            using var oracle = new VectorOracle(bytes);
            for (int j = 0; j < states; j++)
            {
                form.Fill(_before, controls(ref rng), ref rng, hasPending);
                *_host = *_ours = *_before;
                oracle.Run(_host);
                int? vector = _guest.Run(bytes, _ours);
                byte expected = hasPending ? Vector.FloatingPoint : Vector.SimdFloatingPoint;
                if (Difference(vector, expected) is { } difference) differences.Add($"{form}: {difference}");
            }
        }
        Assert.That(differences, Is.Empty, $"{differences.Count} of {Forms * states} runs of {code} differ.");
    }

    /// <summary>What differs between the host's state and ours; null for nothing.</summary>
    /// <param name="vector">What ours raised.</param>
    /// <param name="expected">What a trap of the host's stands for.</param>
    string? Difference(int? vector, byte expected)
    {
        bool trapped = _host->Trapped != 0;
        if (vector != (trapped ? (int?)expected : null))
            return $"vector {vector?.ToString() ?? "none"} here, {(trapped ? "a trap" : "none")} on the host";
        for (int i = 0; i < 16; i++)
            if (i is not (Gpr.Rsp or Gpr.Rsi or Gpr.Rdi) && _host->Gpr[i] != _ours->Gpr[i])
                return Word($"register {i}", _host->Gpr[i], _ours->Gpr[i]);
        return Word("flags", _host->Flags & Rflags.Arithmetic, _ours->Flags)
            ?? Word($"MXCSR {Control(_before):X4}", Control(_host), Control(_ours))
            ?? Bytes("control", _before->Image, _host->Image, _ours->Image, 0, 5)
            ?? Bytes("image", _before->Image, _host->Image, _ours->Image, VectorState.MmxOffset, 384)
            ?? Bytes("memory", _before->Memory, _host->Memory, _ours->Memory, 0, VectorState.MemorySize)
            ?? (trapped ? null : Bytes("target", _before->Target, _host->Target, _ours->Target, 0, 16));
    }

    static uint Control(VectorState* state) => *(uint*)(state->Image + VectorState.ControlOffset);

    static string? Word(string name, ulong host, ulong ours) =>
        host == ours ? null : $"{name}: {host:X} on the host, {ours:X} here";

    static string? Bytes(string name, byte* before, byte* host, byte* ours, int offset, int length)
    {
        var expected = new ReadOnlySpan<byte>(host + offset, length);
        int same = expected.CommonPrefixLength(new ReadOnlySpan<byte>(ours + offset, length));
        if (same == length) return null;
        int start = offset + same & ~15;
        string from = Hex(before + start), to = Hex(host + start), here = Hex(ours + start);
        return $"{name} byte {offset + same}: {from} became {to} on the host, {here} here";
    }

    static string Hex(byte* bytes) => Convert.ToHexString(new ReadOnlySpan<byte>(bytes, 16));
}
