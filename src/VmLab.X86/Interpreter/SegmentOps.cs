namespace VmLab.X86;

/// <summary>
/// Handlers of segment registers, descriptor tables and far transfers. Source: Intel SDM vol. 2, by mnemonic.
/// </summary>
static unsafe class SegmentOps
{
    /// <summary>
    /// LGDT and LIDT; <see cref="Op.Extra"/> is the width of the base in bytes, of which 16-bit operands take only 24 bits:
    /// <see cref="Op.Immediate"/>.
    /// </summary>
    public static Op* LoadTable<TTable, TAddress>(CpuState* s, Op* op)
        where TTable : ITable
        where TAddress : IAddress
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        byte* source = Exec.Readable(s, op, TAddress.Of(s, op), 2 + op->Extra);
        if (source == null) return Exec.Abandon(s, op);
        ulong tableBase = op->Extra == 8 ? *(ulong*)(source + 2) : *(uint*)(source + 2);
        if (op->Extra == 8 && !Vcpu.IsCanonical(tableBase)) return Exec.RaiseGeneralProtection(s, op);
        TTable.Set(s, tableBase & op->Immediate, *(ushort*)source);
        return op + 1;
    }

    public static Op* StoreTable<TTable, TAddress>(CpuState* s, Op* op)
        where TTable : ITable
        where TAddress : IAddress
    {
        if (IsPrevented(s)) return Exec.RaiseGeneralProtection(s, op);
        byte* target = Exec.Writable(s, op, TAddress.Of(s, op), 2 + op->Extra);
        if (target == null) return Exec.Abandon(s, op);
        var (tableBase, limit) = TTable.Get(s);
        *(ushort*)target = (ushort)limit;
        if (op->Extra == 8) *(ulong*)(target + 2) = tableBase;
        else *(uint*)(target + 2) = (uint)tableBase;
        return Exec.Finish(s, op);
    }

    public static Op* LoadLocalTable<TSource>(CpuState* s, Op* op)
        where TSource : ISource
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        byte* source = TSource.Pointer(s, op, 2);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        return Vcpu.Of(s).TryLoadLocalTable(*(ushort*)source) ? op + 1 : Exec.Abandon(s, op);
    }

    public static Op* LoadTask<TSource>(CpuState* s, Op* op)
        where TSource : ISource
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        byte* source = TSource.Pointer(s, op, 2);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        return Vcpu.Of(s).TryLoadTaskRegister(*(ushort*)source) ? op + 1 : Exec.Abandon(s, op);
    }

    public static Op* StoreLocalTable(CpuState* s, Op* op) =>
        IsPrevented(s) ? Exec.RaiseGeneralProtection(s, op) : StoreRegister(s, op, s->LdtSelector);

    public static Op* StoreTask(CpuState* s, Op* op) =>
        IsPrevented(s) ? Exec.RaiseGeneralProtection(s, op) : StoreRegister(s, op, s->TssSelector);

    public static Op* StoreSelectorToMemory<TSelector, TAddress>(CpuState* s, Op* op)
        where TSelector : ISelector
        where TAddress : IAddress =>
        TSelector.IsPrivileged && IsPrevented(s)
            ? Exec.RaiseGeneralProtection(s, op)
            : Exec.Store<W16>(s, op, TAddress.Of(s, op), TSelector.Get(s, op));

    /// <summary>
    /// MOV and POP to DS, ES, FS, GS and SS; SS takes no interrupt before the next instruction is done.
    /// </summary>
    public static Op* LoadSegment<TSource>(CpuState* s, Op* op)
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, 2);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        return LoadSegment(s, op, *(ushort*)source);
    }

    public static Op* PopSegment<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        byte* source = Exec.Readable(s, op, Stack.Linear(s, s->Gpr[Gpr.Rsp]), W.Bytes);
        if (source == null) return Exec.Abandon(s, op);
        ulong rsp = s->Gpr[Gpr.Rsp];
        var selector = *(ushort*)source;
        Stack.SetPointer(s, rsp + (ulong)W.Bytes);   // by the width of the stack as it was
        LoadSegment(s, op, selector);
        if (s->Leave == Leave.Fault) s->Gpr[Gpr.Rsp] = rsp;
        return null;
    }

    static Op* LoadSegment(CpuState* s, Op* op, ushort selector)
    {
        s->Leave = Leave.Next;
        if (!Vcpu.Of(s).TryLoadSegment(op->Extra, selector)) return Exec.Abandon(s, op);
        if (op->Extra == Segment.Ss) s->InterruptShadow = Shadow.Stack;
        return Exec.LeaveAfter(s, op, op->Extra == Segment.Ss ? Leave.Check : Leave.Next);
    }

    public static Op* StoreSegment(CpuState* s, Op* op) => StoreRegister(s, op, s->SegmentSelectors[op->B]);

    public static Op* PushSegment<W>(CpuState* s, Op* op)
        where W : IWidth => Moves.Push<W>(s, op, s->SegmentSelectors[op->Extra]);

    public static Op* SwapGs(CpuState* s, Op* op)
    {
        if (s->Cpl != 0) return Exec.RaiseGeneralProtection(s, op);
        (s->KernelGsBase, s->SegmentBases[Segment.Gs]) = (s->SegmentBases[Segment.Gs], s->KernelGsBase);
        return op + 1;
    }

    /// <summary>RDFSBASE and its kin; <see cref="Op.Extra"/> is the segment.</summary>
    public static Op* ReadSegmentBase<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        if ((s->Cr4 & Cr4.FsGsBase) == 0) return Exec.Raise(s, op, Vector.InvalidOpcode);
        W.WriteRegister((byte*)s + op->A, s->SegmentBases[op->Extra]);
        return op + 1;
    }

    public static Op* WriteSegmentBase<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        if ((s->Cr4 & Cr4.FsGsBase) == 0) return Exec.Raise(s, op, Vector.InvalidOpcode);
        ulong value = W.Read((byte*)s + op->A);
        if (!Vcpu.IsCanonical(value)) return Exec.RaiseGeneralProtection(s, op);
        s->SegmentBases[op->Extra] = value;
        return op + 1;
    }

    public static Op* ReturnFar(CpuState* s, Op* op) => Vcpu.Of(s).ReturnFar(op, op->Extra, op->Immediate);

    /// <summary>JMP m16:n; <see cref="Op.Extra"/> is the width of the offset in bytes.</summary>
    public static Op* JumpFar<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        byte* source = Exec.Readable(s, op, TAddress.Of(s, op), 2 + op->Extra);
        if (source == null) return Exec.Abandon(s, op);
        return Vcpu.Of(s).JumpFar(op, *(ushort*)(source + op->Extra), Offset(source, op->Extra));
    }

    /// <summary>CALL m16:n; <see cref="Op.Extra"/> is the width of the offset, B of what is pushed, in bytes.</summary>
    public static Op* CallFar<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        byte* source = Exec.Readable(s, op, TAddress.Of(s, op), 2 + op->Extra);
        if (source == null) return Exec.Abandon(s, op);
        return Vcpu.Of(s).CallFar(op, *(ushort*)(source + op->Extra), Offset(source, op->Extra), op->B);
    }

    /// <summary>JMP ptr16:n of compatibility mode: the selector is in <see cref="Op.Displacement"/>.</summary>
    public static Op* JumpFarDirect(CpuState* s, Op* op) => Vcpu.Of(s).JumpFar(op, (ushort)op->Displacement, op->Immediate);

    /// <summary>LAR, LSL, VERR, VERW.</summary>
    public static Op* Inspect<TKind, W, TSource>(CpuState* s, Op* op)
        where TKind : IInspection
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, 2);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        if (!Vcpu.Of(s).TryInspect(*(ushort*)source, TKind.ForLimit, out Descriptor? found)) return Exec.Abandon(s, op);
        bool isGood = found is { } descriptor && TKind.TryUse(descriptor, out ulong value, out bool writes)
            && (!writes || Write<W>(s, op, value));
        Flags.SetZero(s, isGood);
        return op + 1;
    }

    static bool Write<W>(CpuState* s, Op* op, ulong value)
        where W : IWidth
    {
        W.WriteRegister((byte*)s + op->A, value);
        return true;
    }

    static ulong Offset(byte* source, int bytes) => bytes == 8 ? *(ulong*)source : bytes == 4 ? *(uint*)source : *(ushort*)source;

    /// <summary>UMIP keeps user code from reading table registers.</summary>
    internal static bool IsPrevented(CpuState* s) => s->Cpl != 0 && (s->Cr4 & Cr4.UserModeInstructionPrevention) != 0;

    internal static Op* StoreRegister(CpuState* s, Op* op, ulong value)
    {
        byte* target = (byte*)s + op->A;
        if (op->Extra == 8) *(ulong*)target = value;
        else if (op->Extra == 4) *(ulong*)target = (uint)value;
        else *(ushort*)target = (ushort)value;
        return op + 1;
    }
}
