namespace VmLab.X86;

// Entry into the handler of an exception or interrupt, through a gate of the IDT.
public sealed unsafe partial class Vcpu
{
    const uint InIdt = 2;   // of an error code: the index is a vector

    /// <summary>Enters the handler of the vector that the state names.</summary>
    /// <param name="isSoftware">INT n, INT3 or INTO: the gate's DPL counts, and EXT is 0 in error codes.</param>
    /// <param name="isExternal">An interrupt from outside, or an NMI.</param>
    /// <param name="isFault">The image of RFLAGS has RF set.</param>
    /// <returns><see langword="false"/> when that raised another exception, which the state then names.</returns>
    /// <remarks>Source: Intel SDM vol. 2, INT n; vol. 3A §6.12 (protected mode), §6.14 (long mode).</remarks>
    bool Deliver(bool isSoftware, bool isExternal, bool isFault = false)
    {
        byte vector = _s->FaultVector;
        bool hasError = _s->FaultHasError != 0;
        uint error = _s->FaultError, external = isSoftware ? 0U : 1U;
        if (vector == Vector.PageFault && !isExternal) _s->Cr2 = _s->FaultAddress;
        if (!IsProtected) return FailAltogether();

        if (!TryReadInterruptGate(vector, isSoftware, external, out Gate gate)) return false;
        if (!TryReadHandlerSegment(gate.Selector, external, out Descriptor code)) return false;
        int cpl = code.IsConforming ? _s->Cpl : code.Dpl;
        if (!TryFindHandlerStack(gate, cpl, external, out PushStack top)) return false;
        bool changesLevel = cpl != _s->Cpl, pushesStack = changesLevel || top.IsLong;

        ulong flags = Flags.All(_s);
        if (isFault) flags |= Rflags.Resume;
        ulong rip = (_s->ModeKey & CodeKey.Long) != 0 ? _s->Rip : (uint)_s->Rip;
        ReadOnlySpan<ulong> words =
            [_s->SegmentSelectors[Segment.Ss], _s->Gpr[Gpr.Rsp], flags, _s->SegmentSelectors[Segment.Cs], rip, error];
        words = words[(pushesStack ? 0 : 2)..(hasError ? 6 : 5)];
        Span<ulong> linear = stackalloc ulong[words.Length];
        uint stackError = changesLevel && !top.IsLong ? top.Selector & ~3U | external : external;
        if (!TryPlace(top, linear, gate.Width, CpuException.Stack(stackError))) return false;
        if (!IsTarget(code, gate.Offset)) return FailWith(CpuException.GeneralProtection(external));
        if (!TryMarkAccessed(gate.Selector, code, out code)) return false;
        if (changesLevel && !TryMarkAccessed(top, out top)) return false;
        if (!TryPush(null, linear, words, gate.Width, cpl)) return false;

        _s->IsHalted = 0;
        _s->SystemFlags &= ~(Rflags.Trap | Rflags.NestedTask | Rflags.Resume | Rflags.Virtual8086);
        if (gate.Type is SystemType.InterruptGate or SystemType.InterruptGate16) _s->SystemFlags &= ~Rflags.Interrupt;
        if (changesLevel) SwitchStack(top, words.Length * gate.Width);
        else SetStackPointer(top, top.Lowered(words.Length * gate.Width));
        LoadCode(gate.Selector, code, cpl);
        _s->Rip = gate.Offset;
        UpdateMode();
        LastDelivery = vector;
        return true;
    }

    /// <summary>Real mode comes with the BIOS; until then an exception there shuts the processor down.</summary>
    bool FailAltogether()
    {
        _s->FaultVector = Vector.DoubleFault;
        return false;
    }

    bool TryReadInterruptGate(byte vector, bool isSoftware, uint external, out Gate gate)
    {
        gate = default;
        bool isLong = _s->IsLongMode;
        int bytes = isLong ? 16 : 8;
        uint error = (uint)vector << 3 | InIdt | external;
        if (vector * bytes + bytes - 1 > _s->IdtLimit) return FailWith(CpuException.GeneralProtection(error));
        ulong high = 0, address = _s->IdtBase + (ulong)(vector * bytes);
        if (!TryReadSystem(address, 8, out ulong low) || isLong && !TryReadSystem(address + 8, 8, out high)) return false;
        gate = Gate.Unpack(low, high, isLong);
        bool isGate = gate.Type is SystemType.InterruptGate or SystemType.TrapGate
            || !isLong && gate.Type is SystemType.InterruptGate16 or SystemType.TrapGate16 or SystemType.TaskGate;
        if (!isGate) return FailWith(CpuException.GeneralProtection(error));
        if (isSoftware && gate.Dpl < _s->Cpl) return FailWith(CpuException.GeneralProtection(error));
        if (!gate.IsPresent) return FailWith(CpuException.NotPresent(error));
        return gate.Type != SystemType.TaskGate || RefuseTaskSwitch(error);
    }

    /// <summary>The code segment of an interrupt or trap gate.</summary>
    bool TryReadHandlerSegment(ushort selector, uint external, out Descriptor code)
    {
        code = default;
        uint error = selector & ~3U | external;
        if ((selector & ~3) == 0) return FailWith(CpuException.GeneralProtection(external));
        if (!TryReadDescriptor(selector, CpuException.GeneralProtection(error), out code)) return false;
        bool fits = code.IsCode && code.Dpl <= _s->Cpl && (!_s->IsLongMode || code.IsLong && !code.IsBig);
        if (!fits) return FailWith(CpuException.GeneralProtection(error));
        return code.IsPresent || FailWith(CpuException.NotPresent(error));
    }

    /// <summary>The stack of a handler: the task's for its level, one of the IST, or the present one.</summary>
    bool TryFindHandlerStack(in Gate gate, int cpl, uint external, out PushStack top)
    {
        bool isLong = _s->IsLongMode;
        top = CurrentStack(isLong);
        if (isLong && gate.Count != 0)
        {
            const uint FirstInterruptStack = 36;
            if (!TryReadTaskPointer(FirstInterruptStack + 8 * (uint)(gate.Count - 1), external, out ulong rsp)) return false;
            top = cpl != _s->Cpl ? LongStack(cpl, rsp) : top with { Pointer = rsp };
        }
        else if (cpl != _s->Cpl && !TryFindInnerStack(cpl, external, out top)) return false;
        if (isLong) top = top with { Pointer = top.Pointer & ~15UL };
        return true;
    }

    /// <summary>Whether an offset lies in a code segment, or is canonical where that is of 64 bits.</summary>
    bool IsTarget(in Descriptor code, ulong offset) =>
        IsLong(code) ? IsCanonical(offset) : offset <= code.Limit;
}
