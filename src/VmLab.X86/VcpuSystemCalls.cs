namespace VmLab.X86;

// SYSCALL, SYSENTER and the ways back: flat segments by number, without a look at descriptors.
public sealed unsafe partial class Vcpu
{
    /// <summary>SYSCALL, in every mode but real mode, as AMD has it.</summary>
    /// <remarks>Source: Intel SDM vol. 2, SYSCALL; AMD APM vol. 3, SYSCALL, for compatibility and legacy mode.</remarks>
    internal Op* SystemCall(Op* op)
    {
        if ((_s->Efer & Efer.SystemCall) == 0 || !IsProtected) return Exec.Raise(_s, op, Vector.InvalidOpcode);
        bool isLongMode = _s->IsLongMode, isLong = (_s->ModeKey & CodeKey.Long) != 0;
        ulong next = Exec.NextRip(_s, op), flags = Flags.All(_s) & ~Rflags.Resume;
        _s->Gpr[Gpr.Rcx] = isLong ? next : (uint)next;
        if (isLongMode) _s->Gpr[Gpr.R11] = flags;
        SetFlags(flags & ~(isLongMode ? _s->SyscallMask : Rflags.Interrupt));
        LoadFlat((ushort)(_s->Star >> 32 & 0xFFFC), stackOffset: 8, cpl: 0, isLongMode);
        SettleTrap();
        return Exec.LeaveAt(_s, op, !isLongMode ? (uint)_s->Star : isLong ? _s->Lstar : _s->Cstar, Leave.Next);
    }

    /// <summary>SYSRET.</summary>
    /// <remarks>Source: Intel SDM vol. 2, SYSRET; AMD APM vol. 3, SYSRET, for legacy mode.</remarks>
    internal Op* SystemReturn(Op* op, bool toLong)
    {
        if ((_s->Efer & Efer.SystemCall) == 0 || !IsProtected) return Exec.Raise(_s, op, Vector.InvalidOpcode);
        if (_s->Cpl != 0) return Exec.RaiseGeneralProtection(_s, op);
        ulong target = _s->Gpr[Gpr.Rcx];
        if (toLong && !IsCanonical(target)) return Exec.RaiseGeneralProtection(_s, op);
        SetFlags((_s->IsLongMode ? _s->Gpr[Gpr.R11] : Flags.All(_s) | Rflags.Interrupt) & ~Rflags.Resume);
        var selector = (ushort)(_s->Star >> 48 & 0xFFFC);
        LoadFlat((ushort)(toLong ? selector + 16 : selector), stackOffset: toLong ? -8 : 8, cpl: 3, toLong);
        SettleTrap();
        return Exec.LeaveAt(_s, op, toLong ? target : (uint)target, Leave.Check);
    }

    /// <summary>SYSENTER. Source: Intel SDM vol. 2, SYSENTER.</summary>
    internal Op* SystemEnter(Op* op)
    {
        var selector = (ushort)(_s->SysenterCs & 0xFFFC);
        if (selector == 0 || !IsProtected) return Exec.RaiseGeneralProtection(_s, op);
        bool isLong = _s->IsLongMode;
        SetFlags(Flags.All(_s) & ~Rflags.Interrupt);
        LoadFlat(selector, stackOffset: 8, cpl: 0, isLong);
        _s->Gpr[Gpr.Rsp] = isLong ? _s->SysenterRsp : (uint)_s->SysenterRsp;
        return Exec.LeaveAt(_s, op, isLong ? _s->SysenterRip : (uint)_s->SysenterRip, Leave.Next);
    }

    /// <summary>SYSEXIT. Source: Intel SDM vol. 2, SYSEXIT.</summary>
    internal Op* SystemExit(Op* op, bool toLong)
    {
        if ((_s->SysenterCs & 0xFFFC) == 0 || !IsProtected || _s->Cpl != 0) return Exec.RaiseGeneralProtection(_s, op);
        ulong target = _s->Gpr[Gpr.Rdx], rsp = _s->Gpr[Gpr.Rcx];
        if (toLong && !(IsCanonical(target) && IsCanonical(rsp))) return Exec.RaiseGeneralProtection(_s, op);
        LoadFlat((ushort)((_s->SysenterCs & 0xFFFC) + (toLong ? 32UL : 16UL)), stackOffset: 8, cpl: 3, toLong);
        _s->Gpr[Gpr.Rsp] = toLong ? rsp : (uint)rsp;
        return Exec.LeaveAt(_s, op, toLong ? target : (uint)target, Leave.Check);
    }

    bool IsProtected => (_s->Cr0 & Cr0.ProtectionEnable) != 0;

    /// <summary>Loads CS and, at an offset from it, SS with flat segments of a privilege level.</summary>
    void LoadFlat(ushort selector, int stackOffset, int cpl, bool isLong)
    {
        int dpl = cpl << 5;
        ushort size = isLong ? SegmentRights.Long : SegmentRights.Big;
        LoadCode(selector, new Descriptor(0, uint.MaxValue, (ushort)(0x9B | dpl | size | SegmentRights.Granular)), cpl);
        SetSegment(Segment.Ss, (ushort)(selector + stackOffset & ~3 | cpl),
            new Descriptor(0, uint.MaxValue, (ushort)(0x93 | dpl | SegmentRights.Big | SegmentRights.Granular)));
        UpdateMode();
    }
}
