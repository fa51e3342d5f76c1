namespace VmLab.X86;

// Far returns: IRET and RET.
public sealed unsafe partial class Vcpu
{
    /// <summary>IRET; <paramref name="bytes"/> is the operand's width.</summary>
    /// <remarks>
    /// NMIs are let in again even when the return faults. A return to another task or to virtual 8086 mode is refused with #GP(0).
    /// Source: Intel SDM vol. 2, IRET; vol. 3A §6.7.1.
    /// </remarks>
    internal Op* ReturnFromInterrupt(Op* op, int bytes)
    {
        _s->NmiBlocked = 0;
        if ((_s->SystemFlags & Rflags.NestedTask) != 0)
        {
            if (_s->IsLongMode) SetFault(CpuException.GeneralProtection(0));
            else RefuseTaskSwitch(0);
            return Exec.Abandon(_s, op);
        }
        Span<ulong> words = stackalloc ulong[5];
        bool isLong = (_s->ModeKey & CodeKey.Long) != 0;
        ulong rsp = _s->Gpr[Gpr.Rsp];
        if (!TryPopWords(op, words[..3], rsp, bytes)) return Exec.Abandon(_s, op);
        if (!_s->IsLongMode && bytes == 4 && _s->Cpl == 0 && (words[2] & Rflags.Virtual8086) != 0)
            return Exec.RaiseGeneralProtection(_s, op);
        var selector = (ushort)words[1];
        int cpl = selector & 3;
        bool popsStack = isLong || cpl != _s->Cpl;
        if (!TryReadReturnSegment(selector, out Descriptor code)) return Exec.Abandon(_s, op);
        PushStack top = CurrentStack(isLong);
        top = top with { Pointer = rsp + 3UL * (ulong)bytes };
        if (popsStack)
        {
            if (!TryPopWords(op, words[3..], rsp + 3UL * (ulong)bytes, bytes)) return Exec.Abandon(_s, op);
            if (!TryReadReturnStack((ushort)words[4], cpl, IsLong(code), words[3], out top)) return Exec.Abandon(_s, op);
        }
        if (!IsTarget(code, words[0])) return Exec.RaiseGeneralProtection(_s, op);
        if (!TryMarkAccessed(selector, code, out code) || popsStack && !TryMarkAccessed(top, out top)) return Exec.Abandon(_s, op);

        SetReturnedFlags(words[2], bytes);
        Return(selector, code, top, popsStack);
        return Exec.LeaveAt(_s, op, words[0], Leave.Check);
    }

    /// <summary>RET to another segment.</summary>
    /// <param name="release">Bytes of parameters to take from the stack, and from an outer one too.</param>
    /// <remarks>Source: Intel SDM vol. 2, RET.</remarks>
    internal Op* ReturnFar(Op* op, int bytes, ulong release)
    {
        Span<ulong> words = stackalloc ulong[4];
        ulong behind = _s->Gpr[Gpr.Rsp] + 2UL * (ulong)bytes + release;
        if (!TryPopWords(op, words[..2], _s->Gpr[Gpr.Rsp], bytes)) return Exec.Abandon(_s, op);
        var selector = (ushort)words[1];
        int cpl = selector & 3;
        bool popsStack = cpl != _s->Cpl;
        if (!TryReadReturnSegment(selector, out Descriptor code)) return Exec.Abandon(_s, op);
        PushStack top = CurrentStack((_s->ModeKey & CodeKey.Long) != 0) with { Pointer = behind };
        if (popsStack)
        {
            if (!TryPopWords(op, words[2..], behind, bytes)) return Exec.Abandon(_s, op);
            if (!TryReadReturnStack((ushort)words[3], cpl, IsLong(code), words[2] + release, out top)) return Exec.Abandon(_s, op);
        }
        if (!IsTarget(code, words[0])) return Exec.RaiseGeneralProtection(_s, op);
        if (!TryMarkAccessed(selector, code, out code) || popsStack && !TryMarkAccessed(top, out top)) return Exec.Abandon(_s, op);

        Return(selector, code, top, popsStack);
        return Exec.LeaveAt(_s, op, words[0], Leave.Next);
    }

    /// <summary>Loads what a return leads to; RIP is the caller's affair.</summary>
    void Return(ushort selector, in Descriptor code, in PushStack top, bool popsStack)
    {
        int cpl = selector & 3;
        bool dropsPrivilege = cpl > _s->Cpl;
        if (popsStack) SwitchStack(top, pushedBytes: 0);
        else SetStackPointer(top, top.Pointer);
        LoadCode(selector, code, cpl);
        if (dropsPrivilege) DropPrivilegedSegments();
        UpdateMode();
    }

    bool TryReadReturnSegment(ushort selector, out Descriptor code)
    {
        code = default;
        int cpl = selector & 3;
        uint error = selector & ~3U;
        if (error == 0) return FailWith(CpuException.GeneralProtection(0));
        if (!TryReadDescriptor(selector, CpuException.GeneralProtection(error), out code)) return false;
        bool fits = code.IsCode && cpl >= _s->Cpl && (code.IsConforming ? code.Dpl <= cpl : code.Dpl == cpl)
            && !(IsLong(code) && code.IsBig);
        if (!fits) return FailWith(CpuException.GeneralProtection(error));
        return code.IsPresent || FailWith(CpuException.NotPresent(error));
    }

    bool TryReadReturnStack(ushort selector, int cpl, bool toLong, ulong pointer, out PushStack top)
    {
        top = LongStack(cpl, pointer) with { Selector = selector };
        uint error = selector & ~3U;
        if (error == 0) return toLong && cpl < 3 || FailWith(CpuException.GeneralProtection(0));
        if (!TryReadDescriptor(selector, CpuException.GeneralProtection(error), out Descriptor stack)) return false;
        if ((selector & 3) != cpl || stack.Dpl != cpl || !stack.IsWritableData) return FailWith(CpuException.GeneralProtection(error));
        if (!stack.IsPresent) return FailWith(CpuException.Stack(error));
        top = new(selector, stack, pointer, toLong);
        return true;
    }

    /// <summary>RFLAGS from the stack, as far as the privilege level reaches before the return.</summary>
    void SetReturnedFlags(ulong flags, int bytes)
    {
        ulong writable = Rflags.Trap | Rflags.Direction | Rflags.NestedTask | Rflags.AlignmentCheck | Rflags.Identification
            | Rflags.Resume;
        if (_s->Cpl == 0) writable |= Rflags.Iopl | Rflags.VirtualInterrupt | Rflags.VirtualInterruptPending;
        if (_s->Cpl <= (int)(_s->SystemFlags >> 12 & 3)) writable |= Rflags.Interrupt;
        if (bytes == 2) writable &= 0xFFFF;
        Flags.SetArithmetic(_s, flags);
        _s->SystemFlags = _s->SystemFlags & ~writable | flags & writable;
    }

    bool TryPopWords(Op* op, Span<ulong> words, ulong rsp, int bytes)
    {
        for (int i = 0; i < words.Length; i++)
        {
            byte* source = Exec.Readable(_s, op, Stack.Linear(_s, rsp + (ulong)(i * bytes)), bytes);
            if (source == null) return false;
            words[i] = bytes == 8 ? *(ulong*)source : bytes == 4 ? *(uint*)source : *(ushort*)source;
        }
        return true;
    }

    /// <summary>
    /// A return to an outer level takes away what that level may not use. Source: Intel SDM vol. 3A §5.8.6.
    /// </summary>
    void DropPrivilegedSegments()
    {
        const ushort Conforming = SegmentRights.Code | SegmentRights.Conforming;
        foreach (int segment in (ReadOnlySpan<int>)[Segment.Es, Segment.Ds, Segment.Fs, Segment.Gs])
        {
            ushort rights = _s->SegmentRights[segment];
            if (rights != 0 && (rights & Conforming) != Conforming && (rights >> 5 & 3) < _s->Cpl) SetNull(segment, 0);
        }
    }
}
