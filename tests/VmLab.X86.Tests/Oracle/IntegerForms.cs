using Iced.Intel;

namespace VmLab.X86.Tests.Oracle;

/// <summary>The encodings that a user program may run without the host and the guest having to differ.</summary>
static class IntegerForms
{
    static readonly CpuidFeature[] s_features =
    [
        CpuidFeature.INTEL8086, CpuidFeature.INTEL186, CpuidFeature.INTEL286, CpuidFeature.INTEL386,
        CpuidFeature.INTEL486, CpuidFeature.X64, CpuidFeature.CMOV, CpuidFeature.POPCNT, CpuidFeature.SSE4_2,
        CpuidFeature.CX8, CpuidFeature.CMPXCHG16B, CpuidFeature.MULTIBYTENOP, CpuidFeature.PAUSE,
        CpuidFeature.PREFETCHW, CpuidFeature.SSE, CpuidFeature.SSE2, CpuidFeature.CET_IBT,
    ];

    // These have tests of their own: they are privileged, or their outcome is the system's.
    static readonly HashSet<Mnemonic> s_excluded =
    [
        Mnemonic.In, Mnemonic.Out, Mnemonic.Insb, Mnemonic.Insw, Mnemonic.Insd, Mnemonic.Outsb, Mnemonic.Outsw,
        Mnemonic.Outsd, Mnemonic.Int, Mnemonic.Int1, Mnemonic.Int3, Mnemonic.Iret, Mnemonic.Iretd, Mnemonic.Iretq,
        Mnemonic.Cli, Mnemonic.Sti, Mnemonic.Hlt, Mnemonic.Syscall, Mnemonic.Sysret, Mnemonic.Sysretq,
        Mnemonic.Sysenter, Mnemonic.Sysexit, Mnemonic.Sysexitq, Mnemonic.Retf, Mnemonic.Lar, Mnemonic.Lsl,
        Mnemonic.Verr, Mnemonic.Verw, Mnemonic.Smsw, Mnemonic.Lmsw, Mnemonic.Sldt, Mnemonic.Lldt, Mnemonic.Str,
        Mnemonic.Ltr, Mnemonic.Sgdt, Mnemonic.Sidt, Mnemonic.Lgdt, Mnemonic.Lidt, Mnemonic.Invlpg, Mnemonic.Invd,
        Mnemonic.Wbinvd, Mnemonic.Clts, Mnemonic.Swapgs, Mnemonic.Lds, Mnemonic.Les, Mnemonic.Lfs, Mnemonic.Lgs,
        Mnemonic.Lss, Mnemonic.Ud0, Mnemonic.Ud1, Mnemonic.Ud2, Mnemonic.Cpuid, Mnemonic.Rdtsc, Mnemonic.Rdmsr,
        Mnemonic.Wrmsr, Mnemonic.Rsm, Mnemonic.Rdpmc, Mnemonic.Clflush, Mnemonic.Ldmxcsr, Mnemonic.Stmxcsr,
        Mnemonic.Umov, Mnemonic.Ibts, Mnemonic.Xbts, Mnemonic.Loadall, Mnemonic.Wait, Mnemonic.Monitor,
        Mnemonic.Mwait, Mnemonic.Prefetchwt1,
    ];

    /// <param name="isNarrow">Those of 32-bit code, not of 64-bit mode.</param>
    public static IEnumerable<IGrouping<Mnemonic, Code>> Of(bool isNarrow) =>
        Enum.GetValues<Code>().Where(code => IsTested(code, isNarrow)).GroupBy(code => code.Mnemonic());

    static bool IsTested(Code code, bool isNarrow)
    {
        OpCodeInfo form = code.ToOpCode();
        if (!form.IsInstruction || !(isNarrow ? form.Mode32 : form.Mode64) || form.Encoding != EncodingKind.Legacy
            || form.MustBeCpl0) return false;
        // AMD's prefetches: no operand may be a register.
        if (code.ToString().EndsWith("_0F0D", StringComparison.Ordinal)) return false;
        if (s_excluded.Contains(code.Mnemonic()) || !code.CpuidFeatures().All(s_features.Contains)) return false;
        return Operands(form).All(IsGeneral) && !IsNarrowBranch(code) && !code.IsCallFarIndirect()
            && !code.IsJmpFarIndirect();
    }

    static IEnumerable<OpCodeOperandKind> Operands(OpCodeInfo form) =>
        Enumerable.Range(0, form.OpCount).Select(form.GetOpKind);

    static bool IsGeneral(OpCodeOperandKind kind) => kind switch
    {
        OpCodeOperandKind.mem or OpCodeOperandKind.mem_offs => true,
        >= OpCodeOperandKind.r8_or_mem and <= OpCodeOperandKind.r64_or_mem => kind != OpCodeOperandKind.r32_or_mem_mpx,
        >= OpCodeOperandKind.r8_reg and <= OpCodeOperandKind.r64_opcode => kind != OpCodeOperandKind.r32_vvvv,
        >= OpCodeOperandKind.al and <= OpCodeOperandKind.rax => true,
        >= OpCodeOperandKind.imm8 and <= OpCodeOperandKind.seg_rBX_al => true,
        OpCodeOperandKind.br64_1 or OpCodeOperandKind.br64_4 or OpCodeOperandKind.br32_1 or OpCodeOperandKind.br32_4
            => true,
        _ => false,
    };

    // With an operand-size prefix, Intel and AMD go to different places.
    static bool IsNarrowBranch(Code code) =>
        code.Mnemonic() is Mnemonic.Ret or Mnemonic.Call or Mnemonic.Jmp && code.ToOpCode().OperandSize == 16;
}
