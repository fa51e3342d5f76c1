namespace VmLab.X86;

/// <summary>Handlers of system instructions. Source: Intel SDM vol. 2, by mnemonic.</summary>
static unsafe class SystemOps
{
    public static Op* InvalidOpcode(CpuState* s, Op* op) => Exec.Raise(s, op, Vector.InvalidOpcode);

    /// <summary>An instruction of more than 15 bytes.</summary>
    public static Op* TooLong(CpuState* s, Op* op) => Exec.RaiseGeneralProtection(s, op);

    public static Op* Halt(CpuState* s, Op* op) =>
        s->Cpl != 0 ? Exec.RaiseGeneralProtection(s, op) : Exec.LeaveAfter(s, op, Leave.Halt);

    public static Op* Cpuid(CpuState* s, Op* op)
    {
        Vcpu.Of(s).Count(ExitReason.Cpuid);
        var (eax, ebx, ecx, edx) = X86.Cpuid.Leaf((uint)s->Gpr[Gpr.Rax], (uint)s->Gpr[Gpr.Rcx], apicId: 0, (s->Cr4 & Cr4.XSave) != 0);
        s->Gpr[Gpr.Rax] = eax;
        s->Gpr[Gpr.Rbx] = ebx;
        s->Gpr[Gpr.Rcx] = ecx;
        s->Gpr[Gpr.Rdx] = edx;
        return op + 1;
    }

    public static Op* ReadTimeStamp(CpuState* s, Op* op)
    {
        if (s->Cpl != 0 && (s->Cr4 & Cr4.TimeStampDisable) != 0) return Exec.RaiseGeneralProtection(s, op);
        ulong now = Vcpu.Of(s).ReadTimeStamp(op);
        s->Gpr[Gpr.Rax] = (uint)now;
        s->Gpr[Gpr.Rdx] = now >> 32;
        return op + 1;
    }

    public static Op* ReadTimeStampAndAux(CpuState* s, Op* op)
    {
        Op* next = ReadTimeStamp(s, op);
        if (next != null) s->Gpr[Gpr.Rcx] = (uint)s->TscAux;
        return next;
    }

    /// <summary>RDPMC: this processor has no performance counter that could be named.</summary>
    public static Op* ReadPerformanceCounter(CpuState* s, Op* op) => Exec.RaiseGeneralProtection(s, op);

    public static Op* ReadMsr(CpuState* s, Op* op)
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        if (!Vcpu.Of(s).TryReadMsr(op, (uint)s->Gpr[Gpr.Rcx], out ulong value)) return Exec.RaiseGeneralProtection(s, op);
        s->Gpr[Gpr.Rax] = (uint)value;
        s->Gpr[Gpr.Rdx] = value >> 32;
        return Exec.LeaveAfter(s, op, Leave.Check);
    }

    public static Op* WriteMsr(CpuState* s, Op* op)
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        ulong value = s->Gpr[Gpr.Rdx] << 32 | (uint)s->Gpr[Gpr.Rax];
        return Vcpu.Of(s).TryWriteMsr(op, (uint)s->Gpr[Gpr.Rcx], value)
            ? Exec.LeaveAfter(s, op, Leave.Check)
            : Exec.RaiseGeneralProtection(s, op);
    }

    /// <summary>MOV from a control register; <see cref="Op.Extra"/> is its number.</summary>
    public static Op* ReadControl(CpuState* s, Op* op)
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        ulong value = Vcpu.Of(s).ReadControl(op->Extra);
        *(ulong*)((byte*)s + op->A) = (s->ModeKey & CodeKey.Long) != 0 ? value : (uint)value;
        return op + 1;
    }

    public static Op* WriteControl(CpuState* s, Op* op)
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        ulong value = *(ulong*)((byte*)s + op->A);
        return Vcpu.Of(s).WriteControl(op, op->Extra, (s->ModeKey & CodeKey.Long) != 0 ? value : (uint)value);
    }

    public static Op* ReadDebug(CpuState* s, Op* op)
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        if (op->Extra is 4 or 5 && (s->Cr4 & Cr4.DebugExtensions) != 0) return Exec.Raise(s, op, Vector.InvalidOpcode);
        if ((s->Dr[7] & Dr7.GeneralDetect) != 0) return Vcpu.Of(s).RaiseGeneralDetect(op);
        ulong value = s->Dr[op->Extra is 4 or 5 ? op->Extra + 2 : op->Extra];
        *(ulong*)((byte*)s + op->A) = (s->ModeKey & CodeKey.Long) != 0 ? value : (uint)value;
        return op + 1;
    }

    public static Op* WriteDebug(CpuState* s, Op* op)
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        if (op->Extra is 4 or 5 && (s->Cr4 & Cr4.DebugExtensions) != 0) return Exec.Raise(s, op, Vector.InvalidOpcode);
        Vcpu cpu = Vcpu.Of(s);
        if ((s->Dr[7] & Dr7.GeneralDetect) != 0) return cpu.RaiseGeneralDetect(op);
        ulong value = *(ulong*)((byte*)s + op->A);
        if ((s->ModeKey & CodeKey.Long) == 0) value = (uint)value;
        int number = op->Extra is 4 or 5 ? op->Extra + 2 : op->Extra;
        if (number >= 6 && value >> 32 != 0) return Exec.RaiseGeneralProtection(s, op);
        cpu.SetDebugRegister(number, value);
        return Exec.LeaveAfter(s, op, Leave.Next);
    }

    public static Op* ClearTaskSwitched(CpuState* s, Op* op)
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        Vcpu.Of(s).ClearTaskSwitched();
        return Exec.LeaveAfter(s, op, Leave.Next);
    }

    /// <summary>SMSW to a register; <see cref="Op.Extra"/> is the operand's width in bytes.</summary>
    public static Op* StoreStatusWord(CpuState* s, Op* op)
    {
        if (SegmentOps.IsPrevented(s)) return Exec.RaiseGeneralProtection(s, op);
        return SegmentOps.StoreRegister(s, op, s->Cr0);
    }

    /// <summary>LMSW: sets PE and never clears it.</summary>
    public static Op* LoadStatusWord<TSource>(CpuState* s, Op* op)
        where TSource : ISource
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        byte* source = TSource.Pointer(s, op, 2);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        return Vcpu.Of(s).WriteControl(op, 0, s->Cr0 & ~0xEUL | *(ushort*)source & 0xFUL);
    }

    public static Op* ClearInterrupts(CpuState* s, Op* op)
    {
        if (s->Cpl > (int)(s->SystemFlags >> 12 & 3)) return Exec.RaiseGeneralProtection(s, op);
        s->SystemFlags &= ~Rflags.Interrupt;
        return op + 1;
    }

    /// <summary>STI: where interrupts were off, the next instruction still takes none.</summary>
    public static Op* SetInterrupts(CpuState* s, Op* op)
    {
        if (s->Cpl > (int)(s->SystemFlags >> 12 & 3)) return Exec.RaiseGeneralProtection(s, op);
        if ((s->SystemFlags & Rflags.Interrupt) == 0) s->InterruptShadow = Shadow.Sti;
        s->SystemFlags |= Rflags.Interrupt;
        return Exec.LeaveAfter(s, op, Leave.Check);
    }

    public static Op* ClearAlignmentCheck(CpuState* s, Op* op)
    {
        if (s->Cpl != 0) return Exec.Raise(s, op, Vector.InvalidOpcode);
        s->SystemFlags &= ~Rflags.AlignmentCheck;
        Vcpu.Of(s).SelectBank();
        return op + 1;
    }

    public static Op* SetAlignmentCheck(CpuState* s, Op* op)
    {
        if (s->Cpl != 0) return Exec.Raise(s, op, Vector.InvalidOpcode);
        s->SystemFlags |= Rflags.AlignmentCheck;
        Vcpu.Of(s).SelectBank();
        return op + 1;
    }

    public static Op* PushFlags<W>(CpuState* s, Op* op)
        where W : IWidth => Moves.Push<W>(s, op, Flags.All(s) & ~(Rflags.Resume | Rflags.Virtual8086));

    public static Op* PopFlags<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        byte* source = Exec.Readable(s, op, Stack.Linear(s, s->Gpr[Gpr.Rsp]), W.Bytes);
        if (source == null) return Exec.Abandon(s, op);
        ulong value = W.Read(source);
        Stack.SetPointer(s, s->Gpr[Gpr.Rsp] + (ulong)W.Bytes);
        ulong writable = Rflags.Trap | Rflags.Direction | Rflags.NestedTask | Rflags.AlignmentCheck | Rflags.Identification;
        if (s->Cpl == 0) writable |= Rflags.Iopl;
        if (s->Cpl <= (int)(s->SystemFlags >> 12 & 3)) writable |= Rflags.Interrupt;
        if (W.Bytes == 2) writable &= 0xFFFF;
        ulong cleared = Rflags.Resume | (W.Bytes == 2 ? 0 : Rflags.VirtualInterrupt | Rflags.VirtualInterruptPending);
        Flags.SetArithmetic(s, value);
        ulong before = s->SystemFlags;
        s->SystemFlags = before & ~writable & ~cleared | value & writable;
        if (((before ^ s->SystemFlags) & Rflags.AlignmentCheck) != 0) Vcpu.Of(s).SelectBank();
        // Only a change that the loop must see ends the block.
        bool matters = ((before ^ s->SystemFlags) & (Rflags.Interrupt | Rflags.Trap)) != 0;
        return matters ? Exec.LeaveAfter(s, op, Leave.Check) : op + 1;
    }

    /// <summary>INVLPG: the TLB holds nothing that a fresh walk would not give, so there is nothing to drop.</summary>
    public static Op* InvalidatePage(CpuState* s, Op* op) =>
        s->Cpl != 0 ? Exec.RaiseGeneralProtection(s, op) : op + 1;

    /// <summary>INVPCID: checks its operands, and has nothing to drop.</summary>
    public static Op* InvalidatePcid<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        byte* descriptor = Exec.Readable(s, op, TAddress.Of(s, op), 16);
        if (descriptor == null) return Exec.Abandon(s, op);
        ulong kind = *(ulong*)((byte*)s + op->A);
        if ((s->ModeKey & CodeKey.Long) == 0) kind = (uint)kind;
        ulong pcid = *(ulong*)descriptor, linear = *(ulong*)(descriptor + 8);
        bool isBad = kind > 3 || pcid >> 12 != 0 || kind == 0 && !Vcpu.IsCanonical(linear)
            || kind <= 1 && pcid != 0 && (s->Cr4 & Cr4.Pcid) == 0;
        return isBad ? Exec.RaiseGeneralProtection(s, op) : op + 1;
    }

    /// <summary>WBINVD and INVD: there are no caches to see.</summary>
    public static Op* InvalidateCaches(CpuState* s, Op* op) =>
        s->Cpl != 0 ? Exec.RaiseGeneralProtection(s, op) : op + 1;

    /// <summary>CLFLUSH: a read, as far as faults go.</summary>
    public static Op* FlushLine<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress =>
        Exec.Readable(s, op, TAddress.Of(s, op), 1) == null ? Exec.Abandon(s, op) : op + 1;

    /// <summary>RDRAND and RDSEED draw from the machine's seeded stream, and always succeed.</summary>
    public static Op* Random<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        W.WriteRegister((byte*)s + op->A, s->Random.Next() & W.Mask);
        Flags.SetArithmetic(s, Rflags.Carry);
        return op + 1;
    }

    /// <summary>IN; <see cref="Op.Immediate"/> is the port, or above 65,535 for DX.</summary>
    public static Op* In<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        Vcpu cpu = Vcpu.Of(s);
        ushort port = op->Immediate > 0xFFFF ? (ushort)s->Gpr[Gpr.Rdx] : (ushort)op->Immediate;
        if (!cpu.MayUsePort(port, W.Bytes)) return Exec.Abandon(s, op);
        W.WriteRegister((byte*)s, cpu.ReadPort(op, port, W.Bytes));
        return Exec.LeaveAfter(s, op, Leave.Device);
    }

    public static Op* Out<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        Vcpu cpu = Vcpu.Of(s);
        ushort port = op->Immediate > 0xFFFF ? (ushort)s->Gpr[Gpr.Rdx] : (ushort)op->Immediate;
        if (!cpu.MayUsePort(port, W.Bytes)) return Exec.Abandon(s, op);
        cpu.WritePort(op, port, W.Bytes, (uint)W.Read((byte*)s));
        return Exec.LeaveAfter(s, op, Leave.Device);
    }

    /// <summary>INT n, INT3 and INTO; the vector is in <see cref="Op.Immediate"/>.</summary>
    public static Op* SoftwareInterrupt(CpuState* s, Op* op)
    {
        Vcpu.Of(s).SetFault(new CpuException((byte)op->Immediate));
        s->PendingAddress = Exec.RipOf(s, op);
        return Exec.LeaveAfter(s, op, Leave.Trap);
    }

    public static Op* Icebp(CpuState* s, Op* op) => Vcpu.Of(s).RaiseIcebp(op);

    public static Op* ReturnFromInterrupt(CpuState* s, Op* op) => Vcpu.Of(s).ReturnFromInterrupt(op, op->Extra);
    public static Op* SystemCall(CpuState* s, Op* op) => Vcpu.Of(s).SystemCall(op);
    public static Op* SystemReturn(CpuState* s, Op* op) => Vcpu.Of(s).SystemReturn(op, toLong: op->Extra == 8);
    public static Op* SystemEnter(CpuState* s, Op* op) => Vcpu.Of(s).SystemEnter(op);
    public static Op* SystemExit(CpuState* s, Op* op) => Vcpu.Of(s).SystemExit(op, toLong: op->Extra == 8);
}
