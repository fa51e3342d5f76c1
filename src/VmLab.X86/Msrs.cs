namespace VmLab.X86;

/// <summary>Numbers of model-specific registers. Source: Intel SDM vol. 4; AMD APM vol. 2 appendix A.</summary>
static class Msr
{
    public const uint TimeStampCounter = 0x10, ApicBase = 0x1B, MicrocodeUpdate = 0x8B,
        MtrrCapabilities = 0xFE, SysenterCs = 0x174, SysenterRsp = 0x175, SysenterRip = 0x176,
        MiscEnable = 0x1A0, DebugControl = 0x1D9, MtrrVariableFirst = 0x200, MtrrVariableLast = 0x20F,
        MtrrFix64K = 0x250, MtrrFix16K0 = 0x258, MtrrFix16K1 = 0x259, MtrrFix4KFirst = 0x268, MtrrFix4KLast = 0x26F, Pat = 0x277,
        MtrrDefault = 0x2FF, Efer = 0xC000_0080, Star = 0xC000_0081, Lstar = 0xC000_0082, Cstar = 0xC000_0083,
        SyscallMask = 0xC000_0084, FsBase = 0xC000_0100, GsBase = 0xC000_0101, KernelGsBase = 0xC000_0102, TscAux = 0xC000_0103,
        AmdHardwareConfig = 0xC001_0015, AmdSysConfig = 0xC001_0010, AmdInterruptPending = 0xC001_0055, AmdOsvwLength = 0xC001_0140,
        AmdOsvwStatus = 0xC001_0141, AmdDecodeConfig = 0xC001_1029;
}

// Model-specific registers: the processor's own, then the machine's.
public sealed unsafe partial class Vcpu
{
    internal const ulong FastStrings = 1;   // of MISC_ENABLE; what the other bits switch is not there

    /// <returns><see langword="false"/>: the guest sees #GP(0).</returns>
    internal bool TryReadMsr(Op* op, uint index, out ulong value)
    {
        Count(ExitReason.MsrRead);
        switch (index)
        {
            case Msr.TimeStampCounter: value = ReadTimeStamp(op); return true;
            case Msr.Efer: value = _s->Efer; return true;
            case Msr.Star: value = _s->Star; return true;
            case Msr.Lstar: value = _s->Lstar; return true;
            case Msr.Cstar: value = _s->Cstar; return true;
            case Msr.SyscallMask: value = _s->SyscallMask; return true;
            case Msr.FsBase: value = _s->SegmentBases[Segment.Fs]; return true;
            case Msr.GsBase: value = _s->SegmentBases[Segment.Gs]; return true;
            case Msr.KernelGsBase: value = _s->KernelGsBase; return true;
            case Msr.TscAux: value = _s->TscAux; return true;
            case Msr.SysenterCs: value = _s->SysenterCs; return true;
            case Msr.SysenterRsp: value = _s->SysenterRsp; return true;
            case Msr.SysenterRip: value = _s->SysenterRip; return true;
            case Msr.Pat: value = _s->Pat; return true;
            case Msr.MtrrCapabilities: value = 0x508; return true;   // eight variable ranges, fixed ranges, write-combining
            case Msr.MtrrDefault: value = _s->MtrrDefault; return true;
            case >= Msr.MtrrVariableFirst and <= Msr.MtrrVariableLast: value = _s->MtrrVariable[index - Msr.MtrrVariableFirst]; return true;
            case Msr.MiscEnable: value = _s->MiscEnable; return true;
            case Msr.DebugControl: value = _s->DebugControl; return true;
            case Msr.MicrocodeUpdate or Msr.AmdHardwareConfig or Msr.AmdSysConfig or Msr.AmdInterruptPending
                or Msr.AmdDecodeConfig:
                value = 0;
                return true;
        }
        if (FixedMtrr(index) is var slot and >= 0)
        {
            value = _s->MtrrFixed[slot];
            return true;
        }
        Publish(op);
        return _board.Msrs.TryReadMsr(index, out value);
    }

    /// <inheritdoc cref="TryReadMsr"/>
    internal bool TryWriteMsr(Op* op, uint index, ulong value)
    {
        Count(ExitReason.MsrWrite);
        switch (index)
        {
            case Msr.TimeStampCounter: _s->TscOffset += value - ReadTimeStamp(op); return true;
            case Msr.Efer: return TrySetEfer(value);
            case Msr.Star: _s->Star = value; return true;
            case Msr.Lstar: return TrySetAddress(ref _s->Lstar, value);
            case Msr.Cstar: return TrySetAddress(ref _s->Cstar, value);
            case Msr.SyscallMask when value >> 32 == 0: _s->SyscallMask = value; return true;
            case Msr.FsBase: return TrySetAddress(ref _s->SegmentBases[Segment.Fs], value);
            case Msr.GsBase: return TrySetAddress(ref _s->SegmentBases[Segment.Gs], value);
            case Msr.KernelGsBase: return TrySetAddress(ref _s->KernelGsBase, value);
            case Msr.TscAux when value >> 32 == 0: _s->TscAux = value; return true;
            case Msr.SysenterCs: _s->SysenterCs = value; return true;
            case Msr.SysenterRsp: return TrySetAddress(ref _s->SysenterRsp, value);
            case Msr.SysenterRip: return TrySetAddress(ref _s->SysenterRip, value);
            case Msr.Pat: return MemoryTypes.AreOfPat(value) && Set(ref _s->Pat, value);
            case Msr.MtrrDefault: return MemoryTypes.IsDefault(value) && Set(ref _s->MtrrDefault, value);
            case >= Msr.MtrrVariableFirst and <= Msr.MtrrVariableLast:
                bool isMask = (index & 1) != 0;
                return (isMask ? MemoryTypes.IsMask(value) : MemoryTypes.IsBase(value))
                    && Set(ref _s->MtrrVariable[index - Msr.MtrrVariableFirst], value);
            case Msr.MiscEnable when (value & ~FastStrings) == 0: _s->MiscEnable = value; return true;
            case Msr.DebugControl when value >> 2 == 0: _s->DebugControl = value; return true;   // LBR and BTF
            case Msr.MicrocodeUpdate or Msr.AmdHardwareConfig or Msr.AmdSysConfig or Msr.AmdInterruptPending
                or Msr.AmdDecodeConfig:
                return true;   // accepted, and nothing to change
        }
        if (FixedMtrr(index) is var slot and >= 0)
            return MemoryTypes.AreOfMtrr(value) && Set(ref _s->MtrrFixed[slot], value);
        Publish(op);
        return _board.Msrs.TryWriteMsr(index, value);
    }

    static int FixedMtrr(uint index) => index switch
    {
        Msr.MtrrFix64K => 0,
        Msr.MtrrFix16K0 => 1,
        Msr.MtrrFix16K1 => 2,
        >= Msr.MtrrFix4KFirst and <= Msr.MtrrFix4KLast => (int)(index - Msr.MtrrFix4KFirst) + 3,
        _ => -1,
    };

    static bool TrySetAddress(ref ulong register, ulong value) => IsCanonical(value) && Set(ref register, value);

    static bool Set(ref ulong register, ulong value)
    {
        register = value;
        return true;
    }

    bool TrySetEfer(ulong value)
    {
        if ((value & ~Efer.Supported) != 0) return false;
        bool pages = (_s->Cr0 & Cr0.Paging) != 0;
        if (pages && ((value ^ _s->Efer) & Efer.LongModeEnable) != 0) return false;
        _s->Efer = value & ~Efer.LongModeActive | _s->Efer & Efer.LongModeActive;   // LMA follows CR0.PG alone
        UpdateSpace();
        return true;
    }
}
