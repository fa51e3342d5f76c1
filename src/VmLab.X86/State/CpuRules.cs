using VmLab.X86.Floating;

namespace VmLab.X86;

/// <summary>What holds of every state that a processor can be in, whatever its guest does.</summary>
/// <remarks>
/// For states from files. Addresses that a guest may load unchecked are not held against anything: RIP behind the last canonical
/// address is a fault to come. Source: Intel SDM vol. 3A §2.5 (control registers), §4.1 (paging modes), §10.8.5 (long mode).
/// </remarks>
static unsafe class CpuRules
{
    const ulong KnownFlags = Rflags.Trap | Rflags.Interrupt | Rflags.Direction | Rflags.Iopl | Rflags.NestedTask | Rflags.Resume
        | Rflags.AlignmentCheck | Rflags.VirtualInterrupt | Rflags.VirtualInterruptPending | Rflags.Identification;
    const uint LargestTable = 0xFFFF;

    /// <returns>The first rule that is broken, or <see langword="null"/>.</returns>
    public static string? Broken(CpuState* s) =>
        BrokenByControl(s) ?? BrokenByAddresses(s) ?? BrokenBySegments(s) ?? BrokenByModelSpecific(s) ?? BrokenByFlags(s) ?? BrokenByFloats(s);

    static string? BrokenByControl(CpuState* s)
    {
        (ulong cr0, ulong cr4, ulong efer) = (s->Cr0, s->Cr4, s->Efer);
        bool pages = (cr0 & Cr0.Paging) != 0, extends = (cr4 & Cr4.PhysicalAddressExtension) != 0;
        if ((cr0 & ~Cr0.All) != 0 || (cr0 & Cr0.ExtensionType) == 0) return "CR0 has reserved bits";
        if (pages && (cr0 & Cr0.ProtectionEnable) == 0) return "CR0 has paging on and protection off";
        if ((cr0 & Cr0.NotWriteThrough) != 0 && (cr0 & Cr0.CacheDisable) == 0) return "CR0 has NW set and CD clear";
        if ((cr4 & ~Cr4.Supported) != 0) return "CR4 has reserved bits";
        if ((efer & ~Efer.Supported) != 0) return "EFER has reserved bits";
        if (s->IsLongMode != (pages && (efer & Efer.LongModeEnable) != 0)) return "EFER and CR0 disagree about long mode";
        if (s->IsLongMode && !extends) return "long mode is on and CR4.PAE is off";
        if ((cr4 & Cr4.Pcid) != 0 && !s->IsLongMode) return "CR4.PCIDE is set outside long mode";
        if (s->Cr3 >> PageWalker.PhysicalBits != 0) return "CR3 has reserved bits";
        bool isPae = AddressSpace.ModeOf(cr0, cr4, efer) == PagingMode.Pae;
        if (isPae && !PageWalker.ArePointers(new ReadOnlySpan<ulong>(s->DirectoryPointers, 4))) return "a directory pointer has reserved bits";
        return XSaveOps.IsControl(s->Xcr0) ? null : "XCR0 has reserved bits";
    }

    static string? BrokenByAddresses(CpuState* s)
    {
        ReadOnlySpan<ulong> addresses =
        [
            s->SegmentBases[Segment.Fs], s->SegmentBases[Segment.Gs], s->KernelGsBase, s->GdtBase, s->IdtBase, s->LdtBase, s->TssBase,
            s->Lstar, s->Cstar, s->SysenterRsp, s->SysenterRip,
        ];
        foreach (ulong address in addresses)
            if (!Vcpu.IsCanonical(address)) return "an address in a system register is not canonical";
        return s->GdtLimit > LargestTable || s->IdtLimit > LargestTable ? "a descriptor table is too long" : null;
    }

    static string? BrokenBySegments(CpuState* s)
    {
        foreach (int segment in (ReadOnlySpan<int>)[Segment.Es, Segment.Cs, Segment.Ss, Segment.Ds])
            if (s->SegmentBases[segment] >> 32 != 0) return "the base of a segment is beyond 4 GiB";
        if ((s->Zero | s->SegmentBases[CpuState.NoSegment]) != 0) return "what is always zero is not";
        bool is64 = s->IsLongMode && (s->SegmentRights[Segment.Cs] & SegmentRights.Long) != 0;
        if (!is64 && s->Rip >> 32 != 0) return "EIP has more than 32 bits";
        const int Both = SegmentRights.Long | SegmentRights.Big;
        if (s->IsLongMode && (s->SegmentRights[Segment.Cs] & Both) == Both) return "CS is of 64 and of 32 bits";
        return s->Cpl <= 3 && (s->Cpl == 0 || (s->Cr0 & Cr0.ProtectionEnable) != 0) ? null : "there is no such privilege level";
    }

    static string? BrokenByModelSpecific(CpuState* s)
    {
        if ((s->SyscallMask | s->TscAux) >> 32 != 0 || (s->MiscEnable & ~Vcpu.FastStrings) != 0 || s->DebugControl >> 2 != 0)
            return "a model-specific register has reserved bits";
        bool areTypes = MemoryTypes.AreOfPat(s->Pat) && MemoryTypes.IsDefault(s->MtrrDefault);
        for (int i = 0; i < 11; i++) areTypes &= MemoryTypes.AreOfMtrr(s->MtrrFixed[i]);
        for (int i = 0; i < 16; i += 2) areTypes &= MemoryTypes.IsBase(s->MtrrVariable[i]) && MemoryTypes.IsMask(s->MtrrVariable[i + 1]);
        return areTypes ? null : "there is no such type of memory";
    }

    static string? BrokenByFlags(CpuState* s)
    {
        if ((s->SystemFlags & ~KnownFlags) != 0) return "RFLAGS has reserved bits";
        if ((s->Dr[6] & ~Dr6.Writable) != Dr6.Fixed || (s->Dr[7] & ~Dr7.Writable) != Dr7.Fixed) return "a debug register has reserved bits";
        bool areSwitches = s->IsHalted <= 1 && s->NmiBlocked <= 1 && s->NmiPending <= 1 && s->MachineCheckPending <= 1
            && s->InterruptShadow <= Shadow.Stack;
        if ((s->TrapPending & ~Dr6.Writable) != 0) return "a debug trap of no known cause is pending";
        return areSwitches ? null : "a switch is neither on nor off";
    }

    static string? BrokenByFloats(CpuState* s)
    {
        if ((s->Mxcsr & ~SseState.MxcsrBits) != 0) return "MXCSR has reserved bits";
        if (!X87.IsControl(s->X87.Control)) return "the control word of the x87 has reserved bits";
        for (int i = 0; i < 8; i++)
            if (s->X87.Registers[i].SignExponent > ushort.MaxValue) return "a register of the x87 has more than 80 bits";
        return null;
    }
}
