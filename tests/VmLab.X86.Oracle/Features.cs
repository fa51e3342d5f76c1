using Iced.Intel;

namespace VmLab.X86.Oracle;

/// <summary>What our CPUID announces, in Iced's words, and how bytes read on a processor that has no more than that.</summary>
public static class Features
{
    enum Word
    {
        Basic1C, Basic1D, Structured7B, Structured7C, Structured7D, State1A, Extended1C, Extended1D,
    }

    /// <summary>As AMD's manual reads bytes without BMI1, LZCNT and WBNOINVD: F3 0F BC is BSF, a near branch can be of 16 bits.</summary>
    public const DecoderOptions Decoding =
        DecoderOptions.AMD | DecoderOptions.NoMPFX_0FBC | DecoderOptions.NoMPFX_0FBD | DecoderOptions.NoWbnoinvd;

    /// <summary>
    /// As an unknown hint reads, whatever became of it on newer processors: 0F 0D and 0F 18 to 1F do nothing.
    /// </summary>
    public const DecoderOptions Running = Decoding | DecoderOptions.ForceReservedNop;

    /// <summary>As a processor reads bytes that has whatever there is.</summary>
    public const DecoderOptions Newest = DecoderOptions.AMD;

    // What leaves the program for a hypervisor, or waits: not to be tried on the host.
    static readonly CpuidFeature[] s_outward =
    [
        CpuidFeature.VMX, CpuidFeature.SVM, CpuidFeature.SKINIT_or_SVM, CpuidFeature.SEV_ES, CpuidFeature.SEV_SNP, CpuidFeature.TDX,
        CpuidFeature.SGX1, CpuidFeature.MONITORX, CpuidFeature.WAITPKG, CpuidFeature.MCOMMIT,
    ];

    // Every x86-64 processor has them.
    static readonly CpuidFeature[] s_always =
    [
        CpuidFeature.INTEL8086, CpuidFeature.INTEL186, CpuidFeature.INTEL286, CpuidFeature.INTEL386, CpuidFeature.INTEL486,
        CpuidFeature.X64, CpuidFeature.CPUID, CpuidFeature.FPU287, CpuidFeature.FPU387, CpuidFeature.PAUSE,
        CpuidFeature.MULTIBYTENOP, CpuidFeature.RDPMC,
    ];

    static readonly Dictionary<CpuidFeature, (Word Word, int Bit)> s_bits = new()
    {
        [CpuidFeature.FPU] = (Word.Basic1D, 0),
        [CpuidFeature.TSC] = (Word.Basic1D, 4),
        [CpuidFeature.MSR] = (Word.Basic1D, 5),
        [CpuidFeature.CX8] = (Word.Basic1D, 8),
        [CpuidFeature.SEP] = (Word.Basic1D, 11),
        [CpuidFeature.CMOV] = (Word.Basic1D, 15),
        [CpuidFeature.CLFSH] = (Word.Basic1D, 19),
        [CpuidFeature.MMX] = (Word.Basic1D, 23),
        [CpuidFeature.FXSR] = (Word.Basic1D, 24),
        [CpuidFeature.SSE] = (Word.Basic1D, 25),
        [CpuidFeature.SSE2] = (Word.Basic1D, 26),
        [CpuidFeature.SSE3] = (Word.Basic1C, 0),
        [CpuidFeature.PCLMULQDQ] = (Word.Basic1C, 1),
        [CpuidFeature.MONITOR] = (Word.Basic1C, 3),
        [CpuidFeature.SSSE3] = (Word.Basic1C, 9),
        [CpuidFeature.CMPXCHG16B] = (Word.Basic1C, 13),
        [CpuidFeature.SSE4_1] = (Word.Basic1C, 19),
        [CpuidFeature.SSE4_2] = (Word.Basic1C, 20),
        [CpuidFeature.MOVBE] = (Word.Basic1C, 22),
        [CpuidFeature.POPCNT] = (Word.Basic1C, 23),
        [CpuidFeature.AES] = (Word.Basic1C, 25),
        [CpuidFeature.XSAVE] = (Word.Basic1C, 26),
        [CpuidFeature.RDRAND] = (Word.Basic1C, 30),
        [CpuidFeature.FSGSBASE] = (Word.Structured7B, 0),
        [CpuidFeature.BMI1] = (Word.Structured7B, 3),
        [CpuidFeature.INVPCID] = (Word.Structured7B, 10),
        [CpuidFeature.RDSEED] = (Word.Structured7B, 18),
        [CpuidFeature.ADX] = (Word.Structured7B, 19),
        [CpuidFeature.SMAP] = (Word.Structured7B, 20),
        [CpuidFeature.CLFLUSHOPT] = (Word.Structured7B, 23),
        [CpuidFeature.CLWB] = (Word.Structured7B, 24),
        [CpuidFeature.SHA] = (Word.Structured7B, 29),
        [CpuidFeature.RDPID] = (Word.Structured7C, 22),
        [CpuidFeature.SERIALIZE] = (Word.Structured7D, 14),
        [CpuidFeature.XSAVEOPT] = (Word.State1A, 0),
        [CpuidFeature.XSAVEC] = (Word.State1A, 1),
        [CpuidFeature.XSAVES] = (Word.State1A, 3),
        [CpuidFeature.LZCNT] = (Word.Extended1C, 5),
        [CpuidFeature.SSE4A] = (Word.Extended1C, 6),
        [CpuidFeature.PREFETCHW] = (Word.Extended1C, 8),
        [CpuidFeature.SYSCALL] = (Word.Extended1D, 11),
        [CpuidFeature.RDTSCP] = (Word.Extended1D, 27),
        [CpuidFeature.D3NOW] = (Word.Extended1D, 31),
    };

    public static bool IsAnnounced(Code code) => code.CpuidFeatures().All(IsAnnounced);

    public static bool LeavesProgram(Code code) => code.CpuidFeatures().Any(s_outward.Contains);

    public static bool IsAnnounced(CpuidFeature feature)
    {
        if (s_always.Contains(feature)) return true;
        return s_bits.TryGetValue(feature, out var place) && (Read(place.Word) >> place.Bit & 1) != 0;
    }

    static uint Read(Word word) => word switch
    {
        Word.Basic1C => Cpuid.Leaf(1, 0, 0).Ecx,
        Word.Basic1D => Cpuid.Leaf(1, 0, 0).Edx,
        Word.Structured7B => Cpuid.Leaf(7, 0, 0).Ebx,
        Word.Structured7C => Cpuid.Leaf(7, 0, 0).Ecx,
        Word.Structured7D => Cpuid.Leaf(7, 0, 0).Edx,
        Word.State1A => Cpuid.Leaf(0xD, 1, 0).Eax,
        Word.Extended1C => Cpuid.Leaf(0x8000_0001, 0, 0).Ecx,
        _ => Cpuid.Leaf(0x8000_0001, 0, 0).Edx,
    };
}
