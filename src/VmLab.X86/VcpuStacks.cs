namespace VmLab.X86;

/// <summary>A stack to push on: one in use, or one that a change of privilege level leads to.</summary>
/// <param name="Pointer">RSP, ESP or SP, as the stack's width has it.</param>
/// <param name="IsLong">64-bit: no segment base or limit.</param>
readonly record struct PushStack(ushort Selector, Descriptor Segment, ulong Pointer, bool IsLong)
{
    /// <summary>The pointer, so many bytes lower.</summary>
    public ulong Lowered(int bytes) =>
        IsLong ? Pointer - (ulong)bytes : Segment.IsBig ? (uint)(Pointer - (ulong)bytes) : (ushort)(Pointer - (ulong)bytes);
}

// The stacks of deliveries and far calls, which are checked in whole before anything is written.
public sealed unsafe partial class Vcpu
{
    PushStack CurrentStack(bool isLong)
    {
        bool isWide = isLong || (_s->SegmentRights[Segment.Ss] & SegmentRights.Big) != 0;
        ulong rsp = _s->Gpr[Gpr.Rsp];
        ulong pointer = (_s->ModeKey & CodeKey.Long) != 0 ? rsp : isWide ? (uint)rsp : (ushort)rsp;
        var segment = new Descriptor(_s->SegmentBases[Segment.Ss], _s->SegmentLimits[Segment.Ss], _s->SegmentRights[Segment.Ss]);
        return new(_s->SegmentSelectors[Segment.Ss], segment, pointer, isLong);
    }

    /// <summary>The stack that the task state names for an inner privilege level, checked.</summary>
    /// <param name="external">EXT of the error codes.</param>
    /// <remarks>Source: Intel SDM vol. 2, CALL and INT n; vol. 3A §5.8.5, §6.14.4.</remarks>
    bool TryFindInnerStack(int cpl, uint external, out PushStack top)
    {
        top = default;
        if (_s->IsLongMode)
        {
            if (!TryReadTaskPointer(4 + 8 * (uint)cpl, external, out ulong rsp)) return false;
            top = LongStack(cpl, rsp);
            return true;
        }
        bool isWide = (_s->TssRights & SystemType.Wide) != 0;
        uint offset = isWide ? 4 + 8 * (uint)cpl : 2 + 4 * (uint)cpl;
        int bytes = isWide ? 4 : 2;
        if (offset + (uint)bytes + 1 > _s->TssLimit) return FailWith(CpuException.Tss(_s->TssSelector & ~3U | external));
        if (!TryReadSystem(_s->TssBase + offset, bytes, out ulong pointer)
            || !TryReadSystem(_s->TssBase + offset + (ulong)bytes, 2, out ulong word)) return false;

        var selector = (ushort)word;
        CpuException bad = CpuException.Tss(selector & ~3U | external);
        if ((selector & ~3) == 0) return FailWith(CpuException.Tss(external));
        if (!TryReadDescriptor(selector, bad, out Descriptor stack)) return false;
        if ((selector & 3) != cpl || stack.Dpl != cpl || !stack.IsWritableData) return FailWith(bad);
        if (!stack.IsPresent) return FailWith(CpuException.Stack(selector & ~3U | external));
        top = new(selector, stack, stack.IsBig ? pointer : (ushort)pointer, IsLong: false);
        return true;
    }

    /// <summary>A stack pointer of the 64-bit task state.</summary>
    bool TryReadTaskPointer(uint offset, uint external, out ulong rsp)
    {
        rsp = 0;
        if (offset + 7 > _s->TssLimit) return FailWith(CpuException.Tss(_s->TssSelector & ~3U | external));
        return TryReadSystem(_s->TssBase + offset, 8, out rsp);
    }

    /// <summary>A 64-bit stack at a changed privilege level, which comes with a null SS.</summary>
    static PushStack LongStack(int cpl, ulong rsp) => new((ushort)cpl, new Descriptor(0, 0, (ushort)(cpl << 5)), rsp, IsLong: true);

    /// <summary>Finds where words would go, and holds them against the stack's limit or canonical form.</summary>
    /// <param name="linear">The linear address of each, in the order they are pushed.</param>
    bool TryPlace(in PushStack top, Span<ulong> linear, int bytes, CpuException noRoom)
    {
        for (int i = 0; i < linear.Length; i++)
        {
            ulong pointer = top.Lowered((i + 1) * bytes);
            bool fits = top.IsLong
                ? IsCanonical(pointer) && IsCanonical(pointer + (ulong)bytes - 1)
                : Segmentation.Allows(top.Segment.Rights, top.Segment.Limit, (uint)pointer, bytes, isWrite: true);
            if (!fits) return FailWith(noRoom);
            linear[i] = top.IsLong ? pointer : (uint)(top.Segment.Base + pointer);
        }
        return true;
    }

    /// <summary>Writes words where <see cref="TryPlace"/> found room: all of them, or none on a page fault.</summary>
    /// <param name="op">What pushes, which may have to run alone; or <see langword="null"/> for a delivery between instructions.</param>
    /// <param name="cpl">The privilege level whose rights count.</param>
    bool TryPush(Op* op, ReadOnlySpan<ulong> linear, ReadOnlySpan<ulong> words, int bytes, int cpl)
    {
        byte oldCpl = _s->Cpl;
        _s->Cpl = (byte)cpl;
        SelectBank();
        bool isWritable = true;
        for (int i = 0; isWritable && i < linear.Length; i++) isWritable = MayWrite(linear[i], bytes);
        if (isWritable && op != null && !AreFast(linear, bytes)) isWritable = MayTouchDevice();
        for (int i = 0; isWritable && i < linear.Length; i++) WriteAllowed(op, linear[i], bytes, words[i]);
        if (op == null) SettleTouches(_s->Rip);
        _s->Cpl = oldCpl;
        SelectBank();
        return isWritable;
    }

    /// <summary>Whether all stores can be done without telling anybody.</summary>
    bool AreFast(ReadOnlySpan<ulong> linear, int bytes)
    {
        foreach (ulong address in linear)
            if ((_s->Tlb[(address >> 12) & Tlb.IndexMask].Write ^ address) > (ulong)(4096 - bytes)) return false;
        return true;
    }

    /// <summary>Makes a stack the current one, with the pointer so many bytes lower.</summary>
    void SwitchStack(in PushStack top, int pushedBytes)
    {
        SetSegment(Segment.Ss, top.Selector, top.Segment);
        SetStackPointer(top, top.Lowered(pushedBytes));
    }

    /// <summary>Sets RSP, ESP or SP as a stack's width has it; a narrow one leaves the rest.</summary>
    void SetStackPointer(in PushStack top, ulong pointer)
    {
        if (top.IsLong) _s->Gpr[Gpr.Rsp] = pointer;
        else if (top.Segment.IsBig) _s->Gpr[Gpr.Rsp] = (uint)pointer;
        else *(ushort*)(_s->Gpr + Gpr.Rsp) = (ushort)pointer;
    }
}
