using System.Runtime.InteropServices;

namespace VmLab.X86;

/// <summary>What CPUID announces, which works; what it does not announce raises #UD.</summary>
/// <remarks>Source: Intel SDM vol. 2, CPUID; AMD APM vol. 3 appendix E.</remarks>
public static class Cpuid
{
    /// <summary>
    /// Family 15, model 47, stepping 2: a plain 64-bit AMD processor, older than the one whose timers stop in HLT
    /// (erratum 400).
    /// </summary>
    public const uint Signature = 0x0002_0FF2;

    /// <summary>Frequency of the time-stamp counter, in Hz.</summary>
    public const uint TscFrequency = 1_000_000_000;

    const uint HypervisorBase = 0x4000_0000, ExtendedBase = 0x8000_0000;

    [Flags]
    enum Basic : uint
    {
        Fpu = 1, De = 1 << 2, Pse = 1 << 3, Tsc = 1 << 4, Msr = 1 << 5, Pae = 1 << 6, Mce = 1 << 7, Cx8 = 1 << 8,
        Apic = 1 << 9, Sep = 1 << 11, Mtrr = 1 << 12, Pge = 1 << 13, Mca = 1 << 14, Cmov = 1 << 15, Pat = 1 << 16, Pse36 = 1 << 17,
        Clflush = 1 << 19, Mmx = 1 << 23, Fxsr = 1 << 24, Sse = 1 << 25, Sse2 = 1 << 26,
    }

    [Flags]
    enum Further : uint
    {
        Sse3 = 1, Ssse3 = 1 << 9, Cx16 = 1 << 13, Pcid = 1 << 17, Sse41 = 1 << 19, Sse42 = 1 << 20, X2Apic = 1 << 21,
        Popcnt = 1 << 23, TscDeadline = 1 << 24, XSave = 1 << 26, OsXSave = 1 << 27, Rdrand = 1 << 30, Hypervisor = 1U << 31,
    }

    const Basic AllBasic = Basic.Fpu | Basic.De | Basic.Pse | Basic.Tsc | Basic.Msr | Basic.Pae | Basic.Mce | Basic.Cx8 | Basic.Apic | Basic.Sep
        | Basic.Mtrr | Basic.Pge | Basic.Mca | Basic.Cmov | Basic.Pat | Basic.Pse36 | Basic.Clflush | Basic.Mmx | Basic.Fxsr | Basic.Sse | Basic.Sse2;

    const Further AllFurther = Further.Sse3 | Further.Ssse3 | Further.Cx16 | Further.Pcid | Further.Sse41 | Further.Sse42 | Further.X2Apic
        | Further.Popcnt | Further.TscDeadline | Further.XSave | Further.Rdrand | Further.Hypervisor;

    // Leaf 7: FSGSBASE, SMEP, INVPCID, RDSEED, SMAP, CLFLUSHOPT; and UMIP.
    const uint Leaf7B = 1 | 1 << 7 | 1 << 10 | 1 << 18 | 1 << 20 | 1 << 23, Leaf7C = 1 << 2;

    // Extended leaf 1: LAHF in 64-bit mode; SYSCALL, NX, 1 GiB pages, RDTSCP, LM, and AMD's copy of leaf 1.
    const uint Extended1C = 1;
    const uint Extended1D = 1 << 11 | 1 << 20 | 1 << 26 | 1 << 27 | 1 << 29 | (uint)AllBasic & 0x0183_F3FF;

    // Leaf 13, subleaf 1: XSAVEOPT, XSAVEC and compacted XRSTOR, XGETBV of what is in use.
    const uint SavingVariants = 1 | 1 << 1 | 1 << 2;

    const uint InvariantTsc = 1 << 8;

    /// <summary>The four registers of a leaf.</summary>
    /// <param name="apicId">Number of the local APIC.</param>
    /// <param name="hasOsXSave">CR4.OSXSAVE is set.</param>
    public static (uint Eax, uint Ebx, uint Ecx, uint Edx) Leaf(uint leaf, uint subleaf, uint apicId, bool hasOsXSave = false) => leaf switch
    {
        0 => Text(0x16, "AuthcAMDenti"),
        1 => (Signature, apicId << 24 | 1 << 16 | 8 << 8, (uint)(AllFurther | (hasOsXSave ? Further.OsXSave : 0)), (uint)AllBasic),
        7 when subleaf == 0 => (0, Leaf7B, Leaf7C, 0),
        0xD when subleaf == 0 => ((uint)XSaveOps.Supported, XSaveOps.AreaSize, XSaveOps.AreaSize, 0),
        0xD when subleaf == 1 => (SavingVariants, XSaveOps.AreaSize, 0, 0),
        0x15 => (1, TscFrequency / 25_000_000, 25_000_000, 0),
        0x16 => (TscFrequency / 1_000_000, TscFrequency / 1_000_000, 100, 0),
        HypervisorBase => Text(HypervisorBase, "VmLabVmLab  "),
        ExtendedBase => Text(ExtendedBase + 8, "AuthcAMDenti"),
        ExtendedBase + 1 => (Signature, 0, Extended1C, Extended1D),
        ExtendedBase + 2 => Brand(0),
        ExtendedBase + 3 => Brand(16),
        ExtendedBase + 4 => Brand(32),
        ExtendedBase + 5 => (0x01FF_01FF, 0x01FF_01FF, 0x4002_0140, 0x4002_0140),
        ExtendedBase + 6 => (0, 0x4200_4200, 0x0200_8140, 0),
        ExtendedBase + 7 => (0, 0, 0, InvariantTsc),
        ExtendedBase + 8 => ((uint)PageWalker.PhysicalBits | 48 << 8, 0, 0, 0),
        _ => default,
    };

    /// <summary>Twelve letters in the order EBX, ECX, EDX.</summary>
    static (uint, uint, uint, uint) Text(uint eax, string letters)
    {
        ReadOnlySpan<byte> bytes = System.Text.Encoding.ASCII.GetBytes(letters);
        ReadOnlySpan<uint> words = MemoryMarshal.Cast<byte, uint>(bytes);
        return (eax, words[0], words[1], words[2]);
    }

    static (uint, uint, uint, uint) Brand(int from)
    {
        byte[] bytes = System.Text.Encoding.ASCII.GetBytes("VmLab virtual processor".PadRight(48, '\0'));
        ReadOnlySpan<uint> words = MemoryMarshal.Cast<byte, uint>(bytes.AsSpan(from, 16));
        return (words[0], words[1], words[2], words[3]);
    }
}
