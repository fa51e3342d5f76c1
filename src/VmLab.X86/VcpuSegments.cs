namespace VmLab.X86;

/// <summary>A segment or system descriptor, unpacked. Source: Intel SDM vol. 3A §3.4.5.</summary>
/// <param name="Rights">As <see cref="CpuState.SegmentRights"/> keeps them.</param>
readonly record struct Descriptor(ulong Base, uint Limit, ushort Rights)
{
    public bool IsPresent => (Rights & SegmentRights.Present) != 0;
    public bool IsCodeOrData => (Rights & SegmentRights.NotSystem) != 0;
    public bool IsCode => IsCodeOrData && (Rights & SegmentRights.Code) != 0;
    public bool IsConforming => IsCode && (Rights & SegmentRights.Conforming) != 0;
    public bool IsWritableData => IsCodeOrData && !IsCode && (Rights & SegmentRights.Writable) != 0;
    public bool IsReadable => IsCodeOrData && (!IsCode || (Rights & SegmentRights.Writable) != 0);
    public bool IsLong => (Rights & SegmentRights.Long) != 0;
    public bool IsBig => (Rights & SegmentRights.Big) != 0;
    public int Dpl => Rights >> 5 & 3;
    public int SystemType => Rights & 0xF;

    public static Descriptor Unpack(ulong bits)
    {
        ulong segmentBase = bits >> 16 & 0xFF_FFFF | bits >> 32 & 0xFF00_0000;
        uint limit = (uint)(bits & 0xFFFF | bits >> 32 & 0xF_0000);
        var rights = (ushort)(bits >> 40 & 0xF0FF);
        if ((rights & SegmentRights.Granular) != 0) limit = limit << 12 | 0xFFF;
        return new(segmentBase, limit, rights);
    }
}

// Segment registers, descriptor tables, and the transfers between code segments.
public sealed unsafe partial class Vcpu
{
    const int AvailableTss = 9, BusyTss = 11, LdtType = 2;

    /// <summary>MOV and POP to a segment register other than CS.</summary>
    internal bool TryLoadSegment(int segment, ushort selector)
    {
        bool isStack = segment == Segment.Ss;
        if ((selector & ~3) == 0)
        {
            bool allowsNull = !isStack || (_s->ModeKey & CodeKey.Long) != 0 && _s->Cpl < 3 && (selector & 3) == _s->Cpl;
            if (!allowsNull) return FailWith(CpuException.GeneralProtection(0));
            SetNull(segment, selector);
            if (isStack) _s->SegmentRights[segment] = (ushort)(_s->Cpl << 5);
            UpdateMode();
            return true;
        }
        if (!TryReadDescriptor(selector, CpuException.GeneralProtection((uint)(selector & ~3)), out Descriptor found)) return false;
        int rpl = selector & 3;
        bool isAllowed = isStack
            ? found.IsWritableData && rpl == _s->Cpl && found.Dpl == _s->Cpl
            : found.IsReadable && (found.IsConforming || found.Dpl >= Math.Max(rpl, _s->Cpl));
        if (!isAllowed) return FailWith(CpuException.GeneralProtection((uint)(selector & ~3)));
        if (!found.IsPresent)
            return FailWith(isStack ? CpuException.Stack((uint)(selector & ~3)) : CpuException.NotPresent((uint)(selector & ~3)));
        if (!TryMarkAccessed(selector, found, out found)) return false;
        SetSegment(segment, selector, found);
        UpdateMode();
        return true;
    }

    /// <summary>Reads a descriptor of the GDT or LDT.</summary>
    /// <param name="beyondLimit">What to raise when the selector points behind the table.</param>
    bool TryReadDescriptor(ushort selector, CpuException beyondLimit, out Descriptor found)
    {
        found = default;
        bool isLocal = (selector & 4) != 0;
        ulong table = isLocal ? _s->LdtBase : _s->GdtBase;
        uint limit = isLocal ? _s->LdtLimit : _s->GdtLimit;
        uint offset = (uint)(selector & ~7);
        if (offset + 7 > limit || isLocal && (_s->LdtRights & SegmentRights.Present) == 0) return FailWith(beyondLimit);
        if (!TryReadSystem(table + offset, 8, out ulong bits)) return false;
        found = Descriptor.Unpack(bits);
        return true;
    }

    bool TryMarkAccessed(ushort selector, Descriptor found, out Descriptor marked)
    {
        marked = found with { Rights = (ushort)(found.Rights | SegmentRights.Accessed) };
        if (marked == found) return true;
        ulong table = (selector & 4) != 0 ? _s->LdtBase : _s->GdtBase;
        return TryWriteSystem(table + (uint)(selector & ~7) + 5, 1, (byte)marked.Rights);
    }

    /// <summary>The code segment of an interrupt gate.</summary>
    bool TryReadCodeSegment(ushort selector, uint external, out Descriptor code)
    {
        code = default;
        if ((selector & ~3) == 0) return FailWith(CpuException.GeneralProtection(external));
        uint error = (uint)(selector & ~3) | external;
        if (!TryReadDescriptor(selector, CpuException.GeneralProtection(error), out code)) return false;
        if (!code.IsCode || !code.IsLong || code.IsBig) return FailWith(CpuException.GeneralProtection(error));
        return code.IsPresent || FailWith(CpuException.NotPresent(error));
    }

    bool TryReadReturnSegment(ushort selector, int cpl, out Descriptor code)
    {
        code = default;
        if ((selector & ~3) == 0) return FailWith(CpuException.GeneralProtection(0));
        uint error = (uint)(selector & ~3);
        if (!TryReadDescriptor(selector, CpuException.GeneralProtection(error), out code)) return false;
        bool fits = code.IsCode && cpl >= _s->Cpl && (code.IsConforming ? code.Dpl <= cpl : code.Dpl == cpl) && !(code.IsLong && code.IsBig);
        if (!fits) return FailWith(CpuException.GeneralProtection(error));
        if (!code.IsPresent) return FailWith(CpuException.NotPresent(error));
        return TryMarkAccessed(selector, code, out code);
    }

    bool TryReadReturnStack(ushort selector, int cpl, bool toLong, out Descriptor stack)
    {
        stack = default;
        uint error = (uint)(selector & ~3);
        if (error == 0) return toLong && cpl < 3 || FailWith(CpuException.GeneralProtection(0));
        if (!TryReadDescriptor(selector, CpuException.GeneralProtection(error), out stack)) return false;
        if ((selector & 3) != cpl || stack.Dpl != cpl || !stack.IsWritableData) return FailWith(CpuException.GeneralProtection(error));
        if (!stack.IsPresent) return FailWith(CpuException.Stack(error));
        return TryMarkAccessed(selector, stack, out stack);
    }

    void SetSegment(int segment, ushort selector, Descriptor found)
    {
        _s->SegmentSelectors[segment] = selector;
        _s->SegmentBases[segment] = found.Base;
        _s->SegmentLimits[segment] = found.Limit;
        _s->SegmentRights[segment] = found.Rights;
    }

    // A null selector keeps its number. The base of FS and GS becomes 0 on this processor.
    void SetNull(int segment, ushort selector) => SetSegment(segment, selector, default);

    void LoadNullStack(int cpl)
    {
        SetNull(Segment.Ss, (ushort)cpl);
        _s->SegmentRights[Segment.Ss] = (ushort)(cpl << 5);
    }

    void LoadStack(ushort selector, Descriptor stack)
    {
        SetSegment(Segment.Ss, selector, stack);
        if ((selector & ~3) == 0) _s->SegmentRights[Segment.Ss] = (ushort)((selector & 3) << 5);
    }

    /// <summary>Loads CS and the privilege level with it; the caller updates the mode.</summary>
    void LoadCode(ushort selector, Descriptor code, int cpl)
    {
        SetSegment(Segment.Cs, (ushort)(selector & ~3 | cpl), code);
        if (code.IsLong) _s->SegmentBases[Segment.Cs] = 0;
        _s->Cpl = (byte)cpl;
    }

    /// <summary>
    /// A return to an outer level takes away what that level may not use. Source: Intel SDM vol. 3A §5.8.6.
    /// </summary>
    void DropPrivilegedSegments()
    {
        foreach (int segment in (ReadOnlySpan<int>)[Segment.Es, Segment.Ds, Segment.Fs, Segment.Gs])
        {
            ushort rights = _s->SegmentRights[segment];
            bool isConforming = (rights & (SegmentRights.Code | SegmentRights.Conforming)) == (SegmentRights.Code | SegmentRights.Conforming);
            if (rights != 0 && !isConforming && (rights >> 5 & 3) < _s->Cpl) SetNull(segment, 0);
        }
    }

    /// <summary>Far jump, far call, and far return.</summary>
    internal Op* JumpFar(Op* op, ushort selector, ulong offset)
    {
        if (!TryReadFarSegment(selector, out Descriptor code)) return Exec.Abandon(_s, op);
        if (code.IsLong ? !IsCanonical(offset) : offset > code.Limit) return Exec.RaiseGeneralProtection(_s, op);
        LoadCode(selector, code, _s->Cpl);
        UpdateMode();
        return Exec.LeaveAt(_s, op, offset, Leave.Next);
    }

    internal Op* CallFar(Op* op, ushort selector, ulong offset, int bytes)
    {
        if (!TryReadFarSegment(selector, out Descriptor code)) return Exec.Abandon(_s, op);
        if (code.IsLong ? !IsCanonical(offset) : offset > code.Limit) return Exec.RaiseGeneralProtection(_s, op);
        ulong rsp = Stack.Lowered(_s, 2 * (ulong)bytes);
        ulong linear = Stack.Linear(_s, rsp);
        byte* frame = Exec.Writable(_s, op, linear, 2 * bytes);
        if (frame == null) return Exec.Abandon(_s, op);
        StoreWord(frame, bytes, Exec.NextRip(_s, op));
        StoreWord(frame + bytes, bytes, _s->SegmentSelectors[Segment.Cs]);
        Exec.Finish(_s, op);
        Stack.SetPointer(_s, rsp);
        LoadCode(selector, code, _s->Cpl);
        UpdateMode();
        return Exec.LeaveAt(_s, op, offset, Leave.Next);
    }

    internal Op* ReturnFar(Op* op, int bytes, ulong release)
    {
        Span<ulong> words = stackalloc ulong[4];
        ulong rsp = _s->Gpr[Gpr.Rsp];
        if (!TryPopWords(op, words[..2], rsp, bytes)) return Exec.Abandon(_s, op);
        var selector = (ushort)words[1];
        int cpl = selector & 3;
        if (!TryReadReturnSegment(selector, cpl, out Descriptor code)) return Exec.Abandon(_s, op);
        if (code.IsLong && !IsCanonical(words[0])) return Exec.RaiseGeneralProtection(_s, op);
        if (cpl == _s->Cpl) Stack.SetPointer(_s, rsp + 2UL * (ulong)bytes + release);
        else
        {
            if (!TryPopWords(op, words[2..], rsp + 2UL * (ulong)bytes + release, bytes)) return Exec.Abandon(_s, op);
            if (!TryReadReturnStack((ushort)words[3], cpl, code.IsLong, out Descriptor stack)) return Exec.Abandon(_s, op);
            LoadStack((ushort)words[3], stack);
            _s->Gpr[Gpr.Rsp] = words[2] + release;
        }
        bool dropsPrivilege = cpl > _s->Cpl;
        LoadCode(selector, code, cpl);
        if (dropsPrivilege) DropPrivilegedSegments();
        UpdateMode();
        return Exec.LeaveAt(_s, op, words[0], Leave.Next);
    }

    // Call gates and task gates come with the legacy modes.
    bool TryReadFarSegment(ushort selector, out Descriptor code)
    {
        code = default;
        uint error = (uint)(selector & ~3);
        if (error == 0) return FailWith(CpuException.GeneralProtection(0));
        if (!TryReadDescriptor(selector, CpuException.GeneralProtection(error), out code)) return false;
        int rpl = selector & 3;
        bool fits = code.IsCode && (code.IsConforming ? code.Dpl <= _s->Cpl : code.Dpl == _s->Cpl && rpl <= _s->Cpl)
            && !(code.IsLong && code.IsBig && _s->IsLongMode);
        if (!fits) return FailWith(CpuException.GeneralProtection(error));
        if (!code.IsPresent) return FailWith(CpuException.NotPresent(error));
        return TryMarkAccessed(selector, code, out code);
    }

    internal bool TryLoadTaskRegister(ushort selector)
    {
        if (!TryReadSystemDescriptor(selector, out Descriptor found)) return false;
        uint error = (uint)(selector & ~3);
        if (found.SystemType != AvailableTss) return FailWith(CpuException.GeneralProtection(error));
        if (!found.IsPresent) return FailWith(CpuException.NotPresent(error));
        if (!TryWriteSystem(_s->GdtBase + error + 5, 1, (byte)found.Rights | 2UL)) return false;   // busy
        _s->TssSelector = selector;
        _s->TssBase = found.Base;
        _s->TssLimit = found.Limit;
        _s->TssRights = (ushort)(found.Rights & ~0xF | BusyTss);
        return true;
    }

    internal bool TryLoadLocalTable(ushort selector)
    {
        if ((selector & ~3) == 0)
        {
            _s->LdtSelector = selector;
            _s->LdtRights = 0;
            return true;
        }
        if (!TryReadSystemDescriptor(selector, out Descriptor found)) return false;
        if (found.SystemType != LdtType) return FailWith(CpuException.GeneralProtection((uint)(selector & ~3)));
        if (!found.IsPresent) return FailWith(CpuException.NotPresent((uint)(selector & ~3)));
        _s->LdtSelector = selector;
        _s->LdtBase = found.Base;
        _s->LdtLimit = found.Limit;
        _s->LdtRights = found.Rights;
        return true;
    }

    /// <summary>A system descriptor of the GDT: 16 bytes in long mode.</summary>
    bool TryReadSystemDescriptor(ushort selector, out Descriptor found)
    {
        found = default;
        uint error = (uint)(selector & ~3);
        if (error == 0 || (selector & 4) != 0) return FailWith(CpuException.GeneralProtection(error));
        if (!TryReadDescriptor(selector, CpuException.GeneralProtection(error), out found)) return false;
        if (found.IsCodeOrData) return FailWith(CpuException.GeneralProtection(error));
        if (!_s->IsLongMode) return true;
        if ((error & ~7U) + 15 > _s->GdtLimit) return FailWith(CpuException.GeneralProtection(error));
        if (!TryReadSystem(_s->GdtBase + (error & ~7U) + 8, 4, out ulong upper)) return false;
        found = found with { Base = found.Base | upper << 32 };
        return true;
    }

    /// <summary>
    /// LAR, LSL, VERR, VERW: looks at a descriptor without loading it; <see langword="null"/> when it may not be
    /// seen.
    /// </summary>
    internal Descriptor? Inspect(ushort selector, bool forLimit)
    {
        if ((selector & ~3) == 0) return null;
        if (!TryReadDescriptor(selector, CpuException.GeneralProtection(0), out Descriptor found))
        {
            _s->Leave = Leave.Next;   // no fault: ZF tells
            return null;
        }
        if (!found.IsConforming && found.Dpl < Math.Max(selector & 3, _s->Cpl)) return null;
        if (found.IsCodeOrData) return found;
        bool isKnown = found.SystemType is AvailableTss or BusyTss or LdtType || !forLimit && found.SystemType == 0xC;
        return isKnown ? found : null;
    }

    static void StoreWord(byte* target, int bytes, ulong value)
    {
        if (bytes == 8) *(ulong*)target = value;
        else if (bytes == 4) *(uint*)target = (uint)value;
        else *(ushort*)target = (ushort)value;
    }

    /// <summary>
    /// Derives what follows from CR0, CR4, EFER, CS, SS and the privilege level: decoding mode and TLB bank.
    /// </summary>
    void UpdateMode()
    {
        CodeMode mode = 0;
        ushort code = _s->SegmentRights[Segment.Cs];
        if (_s->IsLongMode && (code & SegmentRights.Long) != 0) mode = CodeMode.Code64 | CodeMode.Stack32 | CodeMode.Flat;
        else
        {
            if ((code & SegmentRights.Big) != 0) mode |= CodeMode.Code32;
            if ((_s->SegmentRights[Segment.Ss] & SegmentRights.Big) != 0) mode |= CodeMode.Stack32;
            if (IsFlat(Segment.Ds) && IsFlat(Segment.Es) && IsFlat(Segment.Ss) && IsFlat(Segment.Cs)) mode |= CodeMode.Flat;
        }
        if ((_s->Cr0 & (Cr0.Emulation | Cr0.TaskSwitched)) != 0) mode |= CodeMode.FloatOff | CodeMode.SseOff;
        if ((_s->Cr4 & Cr4.FxSave) == 0) mode |= CodeMode.SseOff;
        _s->ModeKey = (ulong)mode << CodeKey.Shift;
        SelectBank();
    }

    bool IsFlat(int segment) => _s->SegmentBases[segment] == 0 && _s->SegmentLimits[segment] == uint.MaxValue;
}
