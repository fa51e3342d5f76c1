namespace VmLab.X86;

// Delivery of exceptions and interrupts, and the return from them.
public sealed unsafe partial class Vcpu
{
    const byte InterruptGate = 0xE, TrapGate = 0xF;

    /// <summary>Notes an exception of the running instruction; the loop delivers it.</summary>
    internal void SetFault(CpuException exception)
    {
        _s->FaultVector = exception.Vector;
        _s->FaultHasError = exception.ErrorCode is null ? (byte)0 : (byte)1;
        _s->FaultError = exception.ErrorCode ?? 0;
        _s->FaultAddress = exception.Address;
        _s->Leave = Leave.Fault;
    }

    /// <summary>Takes an NMI or an interrupt if one is pending and allowed.</summary>
    bool TakeInterrupt()
    {
        byte vector;
        if (_s->NmiPending != 0 && _s->NmiBlocked == 0)
        {
            _s->NmiPending = 0;
            _s->NmiBlocked = 1;
            vector = Vector.Nmi;
        }
        else if ((_s->SystemFlags & Rflags.Interrupt) != 0 && _board.Interrupts.IsRequested)
        {
            PublishBetween(countsTaken: 0);
            vector = _board.Interrupts.Acknowledge();
        }
        else return false;
        Count(ExitReason.Interrupt);
        if (IsRepeating) _s->SystemFlags |= Rflags.Resume;
        _s->Budget--;
        SetFault(new CpuException(vector));
        if (!Deliver(isSoftware: false, isExternal: true)) DeliverNested(Vector.Nmi);   // benign, whatever its number
        return true;
    }

    /// <summary>Delivers the exception or software interrupt that the state names.</summary>
    /// <returns><see langword="false"/> on a triple fault.</returns>
    bool DeliverFault()
    {
        bool isSoftware = _s->Leave == Leave.Trap;
        byte vector = _s->FaultVector;
        if (!isSoftware)
        {
            Count(vector == Vector.PageFault ? ExitReason.PageFault : ExitReason.Exception);
            _s->Budget--;
            _s->TrapPending = 0;   // what waited behind a load of SS is lost to a fault
            if (vector == Vector.Debug) EnterDebugHandler();
        }
        bool isFault = _s->Leave == Leave.Fault && vector != Vector.Debug;
        _s->Leave = Leave.Next;
        _s->InterruptShadow = 0;
        _s->CheckInterrupts = 1;
        if (Deliver(isSoftware, isExternal: false, isFault)) return true;
        if (!isSoftware) return DeliverNested(vector);
        _s->Rip = _s->PendingAddress;   // what INT n raises is raised at INT n, and is the one count of both
        return DeliverNested(Vector.Breakpoint);
    }

    /// <summary>An exception rose while another was delivered. Source: Intel SDM vol. 3A table 6-5.</summary>
    bool DeliverNested(byte first)
    {
        for (int depth = 0; depth < 2; depth++)
        {
            byte second = _s->FaultVector;
            if (first == Vector.DoubleFault)
            {
                _s->Leave = Leave.Shutdown;
                return false;
            }
            if (second == Vector.PageFault) _s->Cr2 = _s->FaultAddress;
            bool isDouble = IsContributory(first) && IsContributory(second)
                || first == Vector.PageFault && (IsContributory(second) || second == Vector.PageFault);
            if (isDouble) SetFault(new CpuException(Vector.DoubleFault, 0));
            first = _s->FaultVector;
            _s->Leave = Leave.Next;
            if (Deliver(isSoftware: false, isExternal: false, isFault: true)) return true;
        }
        _s->Leave = Leave.Shutdown;
        return false;
    }

    static bool IsContributory(byte vector) =>
        vector is Vector.DivideError or Vector.InvalidTss or Vector.SegmentNotPresent or Vector.StackFault or Vector.GeneralProtection;

    /// <summary>Enters the handler of the vector that the state names, through a 64-bit gate.</summary>
    /// <returns><see langword="false"/> when that raised another exception, which the state then names.</returns>
    bool Deliver(bool isSoftware, bool isExternal, bool isFault = false)
    {
        byte vector = _s->FaultVector;
        bool hasError = _s->FaultHasError != 0;
        uint error = _s->FaultError;
        if (vector == Vector.PageFault && !isExternal) _s->Cr2 = _s->FaultAddress;
        if (!_s->IsLongMode) return DeliverLegacy();

        uint external = isSoftware ? 0U : 1U, selfError = (uint)vector << 3 | 2 | external;
        if (vector * 16U + 15 > _s->IdtLimit) return FailWith(CpuException.GeneralProtection(selfError));
        if (!TryReadSystem(_s->IdtBase + vector * 16UL, 8, out ulong low)
            || !TryReadSystem(_s->IdtBase + vector * 16UL + 8, 8, out ulong high)) return false;
        int type = (int)(low >> 40) & 0x1F, gateDpl = (int)(low >> 45) & 3, stackIndex = (int)(low >> 32) & 7;
        if (type is not (InterruptGate or TrapGate)) return FailWith(CpuException.GeneralProtection(selfError));
        if (isSoftware && gateDpl < _s->Cpl) return FailWith(CpuException.GeneralProtection(selfError));
        if ((low >> 47 & 1) == 0) return FailWith(CpuException.NotPresent(selfError));

        ushort selector = (ushort)(low >> 16);
        ulong target = low & 0xFFFF | low >> 32 & 0xFFFF_0000 | high << 32;
        if (!TryReadCodeSegment(selector, external, out Descriptor code)) return false;
        if (!IsCanonical(target)) return FailWith(CpuException.GeneralProtection(external));
        int newCpl = code.IsConforming ? _s->Cpl : code.Dpl;
        if (newCpl > _s->Cpl) return FailWith(CpuException.GeneralProtection((uint)(selector & ~3) | external));

        ulong rsp = _s->Gpr[Gpr.Rsp];
        bool changesStack = newCpl != _s->Cpl;
        if (stackIndex != 0) { if (!TryReadSystem(_s->TssBase + 36 + 8UL * (ulong)(stackIndex - 1), 8, out rsp)) return false; }
        else if (changesStack && !TryReadSystem(_s->TssBase + 4 + 8UL * (ulong)newCpl, 8, out rsp)) return false;
        if (!IsCanonical(rsp)) return FailWith(CpuException.Stack(external));
        rsp &= ~15UL;

        ulong flags = Flags.All(_s);
        if (isFault) flags |= Rflags.Resume;
        ulong frame = rsp - (hasError ? 48UL : 40UL);
        if (!TryPushFrame(frame, hasError, error, flags, newCpl)) return false;

        _s->IsHalted = 0;
        _s->Gpr[Gpr.Rsp] = frame;
        _s->SystemFlags &= ~(Rflags.Trap | Rflags.NestedTask | Rflags.Resume | Rflags.Virtual8086
            | (type == InterruptGate ? Rflags.Interrupt : 0));
        if (changesStack) LoadNullStack(newCpl);
        LoadCode((ushort)(selector & ~3 | newCpl), code, newCpl);
        _s->Rip = target;
        UpdateMode();
        LastDelivery = vector;
        return true;
    }

    /// <summary>Writes SS, RSP, RFLAGS, CS, RIP and the error code with the new privilege level's rights.</summary>
    bool TryPushFrame(ulong frame, bool hasError, uint error, ulong flags, int cpl)
    {
        byte oldCpl = _s->Cpl;
        _s->Cpl = (byte)cpl;
        SelectBank();
        Span<ulong> words = [error, _s->Rip, _s->SegmentSelectors[Segment.Cs], flags, _s->Gpr[Gpr.Rsp], _s->SegmentSelectors[Segment.Ss]];
        if (!hasError) words = words[1..];
        ulong lastByte = frame + (ulong)words.Length * 8 - 1;
        Op probe = default;
        probe.IsStack = true;
        bool isWritable = ProbeWrite(&probe, lastByte - 7, 8) && ProbeWrite(&probe, frame, 8);   // SS goes first
        for (int i = 0; isWritable && i < words.Length; i++) WriteProbed(frame + 8UL * (ulong)i, words[i]);
        SettleTouches(_s->Rip);
        _s->Cpl = oldCpl;
        SelectBank();
        return isWritable;
    }

    /// <summary>Writes eight bytes that <see cref="ProbeWrite"/> found writable, outside of any block.</summary>
    void WriteProbed(ulong linear, ulong value)
    {
        TlbEntry* entry = _s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        if ((entry->Write ^ linear) <= 4088)
        {
            *(ulong*)(linear + (ulong)entry->Delta) = value;
            return;
        }
        Span<byte> bytes = stackalloc byte[8];
        BitConverter.TryWriteBytes(bytes, value);
        int inFirst = BytesInPage(linear, 8);
        Translate(linear, DataAccess(isWrite: true), out ulong first);
        if (!_ram.IsRam(first >> 12)) PublishBetween(countsTaken: 1);   // the delivery's own
        ulong second = 0;
        if (inFirst < 8) Translate(linear + (ulong)inFirst, DataAccess(isWrite: true), out second);
        NoteDelivery(linear, 8, first, inFirst, second);
        WritePhysical(first, bytes[..inFirst]);
        if (inFirst == 8) return;
        if (!_ram.IsRam(second >> 12)) PublishBetween(countsTaken: 1);
        WritePhysical(second, bytes[inFirst..]);
    }

    /// <summary>
    /// Handlers outside long mode come with the legacy modes; until then such an exception shuts the processor down.
    /// </summary>
    bool DeliverLegacy()
    {
        _s->FaultVector = Vector.DoubleFault;
        return false;
    }

    bool FailWith(CpuException exception)
    {
        SetFault(exception);
        return false;
    }

    /// <summary>
    /// IRET in 64-bit mode or from a compatibility handler; <paramref name="bytes"/> is the operand's width.
    /// </summary>
    /// <remarks>Source: Intel SDM vol. 2, IRET, "IA-32e-mode".</remarks>
    internal Op* ReturnFromInterrupt(Op* op, int bytes)
    {
        if ((_s->SystemFlags & Rflags.NestedTask) != 0) return Exec.RaiseGeneralProtection(_s, op);   // no task returns in long mode
        Span<ulong> words = stackalloc ulong[5];
        ulong rsp = _s->Gpr[Gpr.Rsp];
        bool isLong = (_s->ModeKey & CodeKey.Long) != 0;
        if (!TryPopWords(op, words[..3], rsp, bytes)) return Exec.Abandon(_s, op);
        var selector = (ushort)words[1];
        int cpl = selector & 3;
        bool popsStack = isLong || cpl != _s->Cpl;
        if (popsStack && !TryPopWords(op, words, rsp, bytes)) return Exec.Abandon(_s, op);
        if (!TryReadReturnSegment(selector, cpl, out Descriptor code)) return Exec.Abandon(_s, op);
        if (code.IsLong && !IsCanonical(words[0])) return Exec.RaiseGeneralProtection(_s, op);

        ushort stackSelector = (ushort)words[4];
        Descriptor stack = default;
        if (popsStack && !TryReadReturnStack(stackSelector, cpl, code.IsLong, out stack)) return Exec.Abandon(_s, op);

        ulong writable = Rflags.Trap | Rflags.Direction | Rflags.NestedTask | Rflags.AlignmentCheck | Rflags.Identification;
        if (_s->Cpl == 0) writable |= Rflags.Iopl;
        if (_s->Cpl <= (int)(_s->SystemFlags >> 12 & 3)) writable |= Rflags.Interrupt;
        writable |= Rflags.Resume;
        if (bytes == 2) writable &= 0xFFFF;
        Flags.SetArithmetic(_s, words[2]);
        _s->SystemFlags = _s->SystemFlags & ~writable | words[2] & writable;
        _s->NmiBlocked = 0;

        if (popsStack)
        {
            _s->Gpr[Gpr.Rsp] = bytes == 8 ? words[3] : bytes == 4 ? (uint)words[3] : (ushort)words[3];
            LoadStack(stackSelector, stack);
        }
        else Stack.SetPointer(_s, rsp + 3UL * (ulong)bytes);
        bool dropsPrivilege = cpl > _s->Cpl;
        LoadCode(selector, code, cpl);
        if (dropsPrivilege) DropPrivilegedSegments();
        UpdateMode();
        return Exec.LeaveAt(_s, op, code.IsLong ? words[0] : (uint)words[0], Leave.Check);
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
}
