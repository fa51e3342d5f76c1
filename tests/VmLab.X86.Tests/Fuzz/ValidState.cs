namespace VmLab.X86.Tests.Fuzz;

/// <summary>What holds of every state that a processor can be in, whatever it ran.</summary>
static unsafe class ValidState
{
    const ulong HighHalf = 0xFFFF_FFFF_0000_0000;
    const int DebugCauses = 0xE00F;   // as in DR6, and bit 15 for an ICEBP

    /// <summary>The rules that a state breaks, each with its manual's section.</summary>
    public static IReadOnlyList<string> Objections(CpuState* s)
    {
        var found = new List<string>();
        void Rule(bool holds, string rule)
        {
            if (!holds) found.Add(rule);
        }

        bool pages = (s->Cr0 & Cr0.Paging) != 0, isLong = s->IsLongMode;
        ushort code = s->SegmentRights[Segment.Cs];
        bool is64 = isLong && (code & SegmentRights.Long) != 0;
        ulong flags = Flags.All(s);

        Rule(s->Cpl <= 3, "CPL is 0 to 3");
        Rule(s->Cpl == (s->SegmentSelectors[Segment.Cs] & 3), "CPL is CS.RPL (SDM 3A 5.5)");
        Rule((s->Cr0 & ~Cr0.All) == 0, "CR0 has no reserved bit (SDM 3A 2.5)");
        Rule(!pages || (s->Cr0 & Cr0.ProtectionEnable) != 0, "paging needs protection (SDM 3A 2.5)");
        Rule((s->Cr4 & ~Cr4.Supported) == 0, "CR4 has no reserved bit (SDM 3A 2.5)");
        Rule((s->Efer & ~Efer.Supported) == 0, "EFER has no reserved bit (SDM 3A 2.2.1)");
        Rule(isLong == (pages && (s->Efer & Efer.LongModeEnable) != 0), "LMA is LME and PG (SDM 3A 4.1)");
        Rule(!isLong || (s->Cr4 & Cr4.PhysicalAddressExtension) != 0, "long mode needs PAE (SDM 3A 4.1)");
        Rule((s->Cr4 & Cr4.Pcid) == 0 || isLong, "PCIDE needs long mode (SDM 3A 4.10.1)");
        Rule(s->Cr3 >> PageWalker.PhysicalBits == 0, "CR3 has no reserved bit (SDM 3A 4.5)");
        Rule((flags & Rflags.Fixed) != 0, "RFLAGS bit 1 is set (SDM 1 3.4.3)");
        Rule((flags & ~0x3F_7FD7UL) == 0, "RFLAGS has no reserved bit (SDM 1 3.4.3)");
        Rule((flags & Rflags.Virtual8086) == 0, "virtual 8086 mode is never entered");
        Rule(!(is64 && (code & SegmentRights.Big) != 0), "CS.L excludes CS.D (SDM 3A 5.2.1)");
        Rule(is64 || (s->Rip & HighHalf) == 0, "EIP has 32 bits outside of 64-bit mode (SDM 1 3.5)");
        Rule((s->Mxcsr & 0xFFFF_0000) == 0, "MXCSR has no reserved bit (SDM 1 10.2.3)");
        Rule(s->IsHalted <= 1 && s->NmiBlocked <= 1 && s->NmiPending <= 1, "switches are 0 or 1");
        Rule((s->TrapPending & ~DebugCauses) == 0, "a pending debug trap is of B0 to B3, BD, BS or ICEBP (SDM 3B 17.2.3)");
        Rule((s->Dr[6] & HighHalf) == 0 && (s->Dr[7] & HighHalf) == 0, "DR6 and DR7 have 32 bits (SDM 3B 17.2.6)");
        for (int i = 0; i < CpuState.SegmentCount; i++)
            Rule(isLong && i is Segment.Fs or Segment.Gs || (s->SegmentBases[i] & HighHalf) == 0, $"base {i} has 32 bits (SDM 3A 3.4.5)");
        foreach (ulong linear in (ReadOnlySpan<ulong>)[s->GdtBase, s->IdtBase, s->TssBase, s->LdtBase, s->Lstar, s->Cstar,
            s->KernelGsBase, s->SysenterRip, s->SysenterRsp, s->SegmentBases[Segment.Fs], s->SegmentBases[Segment.Gs]])
            Rule((ulong)((long)(linear << 16) >> 16) == linear, $"0x{linear:X} is canonical (SDM 1 3.3.7.1)");
        return found;
    }
}
