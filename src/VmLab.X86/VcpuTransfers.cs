namespace VmLab.X86;

// Far jumps and calls: to code segments, and through call gates.
public sealed unsafe partial class Vcpu
{
    /// <summary>JMP to another segment.</summary>
    /// <remarks>Source: Intel SDM vol. 2, JMP; vol. 3A §5.8.</remarks>
    internal Op* JumpFar(Op* op, ushort selector, ulong offset)
    {
        if (!TryReadFarTarget(selector, out Descriptor code, out Gate? gate)) return Exec.Abandon(_s, op);
        if (gate is { } found)
        {
            (selector, offset) = (found.Selector, found.Offset);
            if (!TryReadGateSegment(found, isCall: false, out code)) return Exec.Abandon(_s, op);
        }
        if (!IsTarget(code, offset)) return Exec.RaiseGeneralProtection(_s, op);
        if (!TryMarkAccessed(selector, code, out code)) return Exec.Abandon(_s, op);
        LoadCode(selector, code, _s->Cpl);
        UpdateMode();
        return Exec.LeaveAt(_s, op, offset, Leave.Next);
    }

    /// <summary>CALL to another segment; <paramref name="bytes"/> is the operand's width, which a gate overrides.</summary>
    /// <remarks>Source: Intel SDM vol. 2, CALL; vol. 3A §5.8.</remarks>
    internal Op* CallFar(Op* op, ushort selector, ulong offset, int bytes)
    {
        if (!TryReadFarTarget(selector, out Descriptor code, out Gate? gate)) return Exec.Abandon(_s, op);
        PushStack top = CurrentStack((_s->ModeKey & CodeKey.Long) != 0);
        if (gate is { } found)
        {
            if (!TryReadGateSegment(found, isCall: true, out code)) return Exec.Abandon(_s, op);
            if (!code.IsConforming && code.Dpl < _s->Cpl) return CallInner(op, found, code);
            top = CurrentStack(_s->IsLongMode);
            (selector, offset, bytes) = (found.Selector, found.Offset, found.Width);
        }
        ReadOnlySpan<ulong> words = [_s->SegmentSelectors[Segment.Cs], Exec.NextRip(_s, op)];
        Span<ulong> linear = stackalloc ulong[2];
        if (!TryPlace(top, linear, bytes, CpuException.Stack(0))) return Exec.Abandon(_s, op);
        if (!IsTarget(code, offset)) return Exec.RaiseGeneralProtection(_s, op);
        if (!TryMarkAccessed(selector, code, out code) || !TryPush(op, linear, words, bytes, _s->Cpl)) return Exec.Abandon(_s, op);
        SetStackPointer(top, top.Lowered(2 * bytes));
        LoadCode(selector, code, _s->Cpl);
        UpdateMode();
        return Exec.LeaveAt(_s, op, offset, Leave.Next);
    }

    /// <summary>CALL through a gate to an inner privilege level: another stack, and the parameters copied to it.</summary>
    Op* CallInner(Op* op, in Gate gate, Descriptor code)
    {
        int parameters = _s->IsLongMode ? 0 : gate.Count, count = parameters + 4, cpl = code.Dpl;
        if (!TryFindInnerStack(cpl, external: 0, out PushStack top)) return Exec.Abandon(_s, op);
        Span<ulong> words = stackalloc ulong[count], linear = stackalloc ulong[count];
        if (!TryPlace(top, linear, gate.Width, CpuException.Stack(top.Selector & ~3U))) return Exec.Abandon(_s, op);
        if (!IsTarget(code, gate.Offset)) return Exec.RaiseGeneralProtection(_s, op);
        words[0] = _s->SegmentSelectors[Segment.Ss];
        words[1] = _s->Gpr[Gpr.Rsp];
        if (!TryPopWords(op, words[2..(2 + parameters)], _s->Gpr[Gpr.Rsp], gate.Width)) return Exec.Abandon(_s, op);
        words[2..(2 + parameters)].Reverse();   // the last is pushed first
        words[^2] = _s->SegmentSelectors[Segment.Cs];
        words[^1] = Exec.NextRip(_s, op);
        if (!TryMarkAccessed(gate.Selector, code, out code) || !TryMarkAccessed(top, out top)) return Exec.Abandon(_s, op);
        if (!TryPush(op, linear, words, gate.Width, cpl)) return Exec.Abandon(_s, op);
        SwitchStack(top, count * gate.Width);
        LoadCode(gate.Selector, code, cpl);
        UpdateMode();
        return Exec.LeaveAt(_s, op, gate.Offset, Leave.Next);
    }

    /// <summary>What a far jump or call names: a code segment it may enter, or a call gate it may use.</summary>
    bool TryReadFarTarget(ushort selector, out Descriptor code, out Gate? gate)
    {
        code = default;
        gate = null;
        uint error = selector & ~3U;
        if (error == 0) return FailWith(CpuException.GeneralProtection(0));
        if (!TryReadDescriptorBits(selector, CpuException.GeneralProtection(error), out ulong bits)) return false;
        code = Descriptor.Unpack(bits);
        if (!code.IsCodeOrData) return TryReadCallGate(selector, bits, out gate);
        int rpl = selector & 3;
        bool fits = code.IsCode && (code.IsConforming ? code.Dpl <= _s->Cpl : code.Dpl == _s->Cpl && rpl <= _s->Cpl)
            && !(IsLong(code) && code.IsBig);
        if (!fits) return FailWith(CpuException.GeneralProtection(error));
        return code.IsPresent || FailWith(CpuException.NotPresent(error));
    }

    /// <summary>A call gate: 8 bytes, or 16 in long mode, where the upper half must have type 0.</summary>
    bool TryReadCallGate(ushort selector, ulong low, out Gate? gate)
    {
        gate = null;
        uint error = selector & ~3U;
        CpuException bad = CpuException.GeneralProtection(error);
        bool isLong = _s->IsLongMode;
        int type = (int)(low >> 40) & 0xF, dpl = (int)(low >> 45) & 3;
        bool isKnown = type is SystemType.CallGate
            || !isLong && type is SystemType.CallGate16 or SystemType.TaskGate or SystemType.Tss16 or SystemType.Tss;
        if (!isKnown || dpl < Math.Max(selector & 3, _s->Cpl)) return FailWith(bad);
        ulong high = 0;
        if (isLong)
        {
            if (!TryReadUpperHalf(selector, bad, out high)) return false;
            const ulong UpperType = 0x1FUL << 40;
            if ((high & UpperType) != 0) return FailWith(bad);
        }
        Gate found = Gate.Unpack(low, high, isLong);
        if (!found.IsPresent) return FailWith(CpuException.NotPresent(error));
        if (type is not (SystemType.CallGate or SystemType.CallGate16)) return RefuseTaskSwitch(error);
        gate = found;
        return true;
    }

    /// <summary>The code segment of a call gate.</summary>
    bool TryReadGateSegment(in Gate gate, bool isCall, out Descriptor code)
    {
        code = default;
        uint error = gate.Selector & ~3U;
        if (error == 0) return FailWith(CpuException.GeneralProtection(0));
        if (!TryReadDescriptor(gate.Selector, CpuException.GeneralProtection(error), out code)) return false;
        bool fits = code.IsCode && code.Dpl <= _s->Cpl && (isCall || code.IsConforming || code.Dpl == _s->Cpl)
            && (!_s->IsLongMode || code.IsLong && !code.IsBig);
        if (!fits) return FailWith(CpuException.GeneralProtection(error));
        return code.IsPresent || FailWith(CpuException.NotPresent(error));
    }

    /// <summary>Whether code is of 64 bits, which it can be in long mode only.</summary>
    bool IsLong(in Descriptor code) => _s->IsLongMode && code.IsLong;
}
