namespace VmLab.X86;

// Segment registers and descriptor tables.
public sealed unsafe partial class Vcpu
{
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
        bool isRead = TryReadDescriptorBits(selector, beyondLimit, out ulong bits);
        found = Descriptor.Unpack(bits);
        return isRead;
    }

    bool TryReadDescriptorBits(ushort selector, CpuException beyondLimit, out ulong bits)
    {
        bits = 0;
        return IsInTable(selector) ? TryReadSystem(AddressOf(selector), 8, out bits) : FailWith(beyondLimit);
    }

    /// <summary>The second 8 bytes of a system descriptor in long mode.</summary>
    bool TryReadUpperHalf(ushort selector, CpuException beyondLimit, out ulong bits)
    {
        bits = 0;
        return IsInTable(selector, bytes: 16) ? TryReadSystem(AddressOf(selector) + 8, 8, out bits) : FailWith(beyondLimit);
    }

    bool IsInTable(ushort selector, uint bytes = 8)
    {
        uint last = (selector & ~7U) + bytes - 1;
        if ((selector & 4) == 0) return last <= _s->GdtLimit;
        return (_s->LdtRights & SegmentRights.Present) != 0 && last <= _s->LdtLimit;
    }

    ulong AddressOf(ushort selector) => ((selector & 4) != 0 ? _s->LdtBase : _s->GdtBase) + (selector & ~7U);

    bool TryMarkAccessed(ushort selector, Descriptor found, out Descriptor marked)
    {
        marked = found with { Rights = (ushort)(found.Rights | SegmentRights.Accessed) };
        return marked == found || TryWriteSystem(AddressOf(selector) + 5, 1, (byte)marked.Rights);
    }

    /// <summary>As for a descriptor, for the segment of a stack, unless that is null.</summary>
    bool TryMarkAccessed(in PushStack top, out PushStack marked)
    {
        marked = top;
        if ((top.Selector & ~3) == 0) return true;
        bool isMarked = TryMarkAccessed(top.Selector, top.Segment, out Descriptor segment);
        marked = top with { Segment = segment };
        return isMarked;
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

    /// <summary>Loads CS and the privilege level with it; the caller updates the mode.</summary>
    void LoadCode(ushort selector, Descriptor code, int cpl)
    {
        SetSegment(Segment.Cs, (ushort)(selector & ~3 | cpl), code);
        if (IsLong(code)) _s->SegmentBases[Segment.Cs] = 0;
        _s->Cpl = (byte)cpl;
    }

    /// <summary>
    /// Derives what follows from CR0, CR4, EFER, MXCSR, CS, SS and the privilege level: decoding mode and TLB bank.
    /// </summary>
    internal void UpdateMode()
    {
        CodeMode mode = 0;
        ushort code = _s->SegmentRights[Segment.Cs];
        if (_s->IsLongMode && (code & SegmentRights.Long) != 0) mode = CodeMode.Code64 | CodeMode.Stack32 | CodeMode.Flat;
        else
        {
            if ((code & SegmentRights.Big) != 0) mode |= CodeMode.Code32;
            if ((_s->SegmentRights[Segment.Ss] & SegmentRights.Big) != 0) mode |= CodeMode.Stack32;
            bool isCodeFlat = _s->SegmentBases[Segment.Cs] == 0 && _s->SegmentLimits[Segment.Cs] == uint.MaxValue;
            if (isCodeFlat && IsFlat(Segment.Ds) && IsFlat(Segment.Es) && IsFlat(Segment.Ss)) mode |= CodeMode.Flat;
        }
        if ((_s->Cr0 & (Cr0.Emulation | Cr0.TaskSwitched)) != 0) mode |= CodeMode.FloatOff | CodeMode.SseOff;
        if ((_s->Cr4 & Cr4.FxSave) == 0) mode |= CodeMode.SseOff;
        if (SseState.HasTraps(_s->Mxcsr)) mode |= CodeMode.SseTraps;
        _s->ModeKey = (ulong)mode << CodeKey.Shift;
        bool isLimited = (mode & CodeMode.Code64) == 0 && _s->SegmentLimits[Segment.Cs] != uint.MaxValue;
        _s->HasCodeLimit = isLimited && (_s->Cr0 & Cr0.ProtectionEnable) != 0 ? (byte)1 : (byte)0;
        SelectBank();
    }

    bool IsFlat(int segment) =>
        _s->SegmentBases[segment] == 0 && Segmentation.AllowsAll(_s->SegmentRights[segment], _s->SegmentLimits[segment]);
}
