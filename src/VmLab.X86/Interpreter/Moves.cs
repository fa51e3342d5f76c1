using System.Runtime.CompilerServices;

namespace VmLab.X86;

/// <summary>Handlers of moves, extensions, exchanges and the stack. Source: Intel SDM vol. 2, by mnemonic.</summary>
static unsafe class Moves
{
    public static Op* Load<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        W.WriteRegister((byte*)s + op->A, W.Read(source));
        return op + 1;
    }
    public static Op* Store<W, TAddress, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TAddress : IAddress
        where TSource : ISource =>
        Exec.Store<W>(s, op, TAddress.Of(s, op), W.Read(TSource.Pointer(s, op, W.Bytes)));
    public static Op* LoadZeroExtended<WTo, WFrom, TSource>(CpuState* s, Op* op)
        where WTo : IWidth
        where WFrom : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, WFrom.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        WTo.WriteRegister((byte*)s + op->A, WFrom.Read(source));
        return op + 1;
    }
    public static Op* LoadSignExtended<WTo, WFrom, TSource>(CpuState* s, Op* op)
        where WTo : IWidth
        where WFrom : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, WFrom.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        WTo.WriteRegister((byte*)s + op->A, WFrom.SignExtend(WFrom.Read(source)));
        return op + 1;
    }

    /// <summary>LEA; segment bases play no part.</summary>
    public static Op* LoadAddress<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        ulong address = CpuState.Read(s, op->Base) + (CpuState.Read(s, op->Index) << op->Shift) + (ulong)op->Displacement;
        if (op->Extra == 32) address = (uint)address;
        else if (op->Extra == 16) address = (ushort)address;
        W.WriteRegister((byte*)s + op->A, address);
        return op + 1;
    }

    public static Op* Exchange<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        byte* a = (byte*)s + op->A, b = (byte*)s + op->B;
        ulong value = W.Read(a);
        W.WriteRegister(a, W.Read(b));
        W.WriteRegister(b, value);
        return op + 1;
    }
    public static Op* ExchangeMemory<W, TAddress>(CpuState* s, Op* op)
        where W : IWidth
        where TAddress : IAddress
    {
        byte* target = Exec.Modifiable(s, op, TAddress.Of(s, op), W.Bytes);
        if (target == null) return Exec.Abandon(s, op);
        byte* register = (byte*)s + op->B;
        ulong old = W.Read(target);
        W.Write(target, W.Read(register));
        W.WriteRegister(register, old);
        return Exec.Finish(s, op);
    }
    public static Op* MoveIf<W, TCondition, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TCondition : ICondition
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);   // read, and may fault, either way
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        byte* target = (byte*)s + op->A;
        W.WriteRegister(target, TCondition.IsMet(s) ? W.Read(source) : W.Read(target));
        return op + 1;
    }

    public static Op* SetIf<TCondition>(CpuState* s, Op* op)
        where TCondition : ICondition
    {
        *((byte*)s + op->A) = TCondition.IsMet(s) ? (byte)1 : (byte)0;
        return op + 1;
    }

    public static Op* SetMemoryIf<TCondition, TAddress>(CpuState* s, Op* op)
        where TCondition : ICondition
        where TAddress : IAddress =>
        Exec.Store<W8>(s, op, TAddress.Of(s, op), TCondition.IsMet(s) ? 1UL : 0UL);
    public static Op* Push<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        return Push<W>(s, op, W.Read(source));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Push<W>(CpuState* s, Op* op, ulong value)
        where W : IWidth
    {
        ulong rsp = Stack.Lowered(s, (ulong)W.Bytes);
        Op* next = Exec.Store<W>(s, op, Stack.Linear(s, rsp), value);
        if (next == null) return Stack.Fail(s);
        Stack.SetPointer(s, rsp);
        return next;
    }
    public static Op* Pop<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        byte* source = Exec.Readable(s, op, Stack.Linear(s, s->Gpr[Gpr.Rsp]), W.Bytes);
        if (source == null) return Exec.Abandon(s, op);
        ulong value = W.Read(source);
        Stack.SetPointer(s, s->Gpr[Gpr.Rsp] + (ulong)W.Bytes);
        W.WriteRegister((byte*)s + op->A, value);   // after the pointer moved: POP RSP keeps what was popped
        return op + 1;
    }

    /// <summary>POP to memory: an address through RSP uses the pointer as it is after the pop.</summary>
    public static Op* PopMemory<W, TAddress>(CpuState* s, Op* op)
        where W : IWidth
        where TAddress : IAddress
    {
        ulong old = s->Gpr[Gpr.Rsp];
        byte* source = Exec.Readable(s, op, Stack.Linear(s, old), W.Bytes);
        if (source == null)
        {
            Exec.Abandon(s, op);
            return Stack.Fail(s);
        }
        ulong value = W.Read(source);
        Stack.SetPointer(s, old + (ulong)W.Bytes);
        Op* next = Exec.Store<W>(s, op, TAddress.Of(s, op), value);
        if (next == null) s->Gpr[Gpr.Rsp] = old;
        return next;
    }

    public static Op* Leave<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        ulong frame = s->Gpr[Gpr.Rbp];
        byte* source = Exec.Readable(s, op, Stack.Linear(s, frame), W.Bytes);
        if (source == null) return Exec.Abandon(s, op);
        ulong value = W.Read(source);
        Stack.SetPointer(s, frame + (ulong)W.Bytes);
        W.WriteRegister((byte*)(s->Gpr + Gpr.Rbp), value);
        return op + 1;
    }

    /// <summary>
    /// ENTER without nesting (level 0), which is all that compilers emit; deeper levels copy frame pointers.
    /// </summary>
    public static Op* Enter<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        int level = op->Extra & 31;
        ulong rsp = s->Gpr[Gpr.Rsp], rbp = s->Gpr[Gpr.Rbp], size = (ulong)W.Bytes;
        ulong lowest = rsp - size * (ulong)(level + 1);
        Vcpu cpu = Vcpu.Of(s);
        if (!cpu.ProbeWrite(op, Stack.Linear(s, lowest), (int)size) || !cpu.ProbeWrite(op, Stack.Linear(s, rsp - size), (int)size))
            return Exec.Abandon(s, op);
        if (Exec.Store<W>(s, op, Stack.Linear(s, rsp - size), rbp) == null) return null;
        ulong frame = rsp - size;
        for (int i = 1; i <= level; i++)
        {
            ulong pointer = frame;
            if (i < level)
            {
                byte* outer = Exec.Readable(s, op, Stack.Linear(s, rbp - size * (ulong)i), W.Bytes);
                if (outer == null) return Exec.Abandon(s, op);
                pointer = W.Read(outer);
            }
            if (Exec.Store<W>(s, op, Stack.Linear(s, frame - size * (ulong)i), pointer) == null) return null;
        }
        if (!cpu.ProbeWrite(op, Stack.Linear(s, lowest - op->Immediate), 1)) return Exec.Abandon(s, op);
        W.WriteRegister((byte*)(s->Gpr + Gpr.Rbp), frame);
        Stack.SetPointer(s, lowest - op->Immediate);
        return op + 1;
    }

    /// <summary>
    /// PUSHA and POPA have no place in 64-bit mode; XLAT, LAHF, SAHF and the sign extensions of the accumulator
    /// follow.
    /// </summary>
    public static Op* Translate<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        Op reached = *op;   // AL is part of the offset, and wraps with it
        reached.Displacement += (byte)s->Gpr[Gpr.Rax];
        byte* source = Exec.Readable(s, op, TAddress.Of(s, &reached), 1);
        if (source == null) return Exec.Abandon(s, op);
        *(byte*)s = *source;
        return op + 1;
    }

    public static Op* LoadFlags(CpuState* s, Op* op)
    {
        ((byte*)s)[1] = (byte)(Flags.Arithmetic(s) & 0xFF | Rflags.Fixed);
        return op + 1;
    }

    public static Op* StoreFlags(CpuState* s, Op* op)
    {
        const ulong Low = Rflags.Sign | Rflags.Zero | Rflags.Adjust | Rflags.Parity | Rflags.Carry;
        Flags.SetArithmetic(s, Flags.Arithmetic(s) & ~Low | ((byte*)s)[1] & Low);
        return op + 1;
    }

    /// <summary>CBW, CWDE, CDQE: the accumulator's lower half, sign-extended.</summary>
    public static Op* ExtendAccumulator<WTo, WFrom>(CpuState* s, Op* op)
        where WTo : IWidth
        where WFrom : IWidth
    {
        WTo.WriteRegister((byte*)s, WFrom.SignExtend(WFrom.Read((byte*)s)));
        return op + 1;
    }

    /// <summary>CWD, CDQ, CQO: the accumulator's sign, all over RDX.</summary>
    public static Op* SpreadSign<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        ulong sign = W.SignExtend(W.Read((byte*)s)) >> 63;
        W.WriteRegister((byte*)(s->Gpr + Gpr.Rdx), 0 - sign);
        return op + 1;
    }

    public static Op* ComplementCarry(CpuState* s, Op* op)
    {
        Flags.SetCarry(s, !Flags.Carry(s));
        return op + 1;
    }

    public static Op* ClearCarry(CpuState* s, Op* op)
    {
        Flags.SetCarry(s, false);
        return op + 1;
    }

    public static Op* SetCarry(CpuState* s, Op* op)
    {
        Flags.SetCarry(s, true);
        return op + 1;
    }

    public static Op* ClearDirection(CpuState* s, Op* op)
    {
        s->SystemFlags &= ~Rflags.Direction;
        return op + 1;
    }

    public static Op* SetDirection(CpuState* s, Op* op)
    {
        s->SystemFlags |= Rflags.Direction;
        return op + 1;
    }

    public static Op* Nothing(CpuState* s, Op* op) => op + 1;
}

/// <summary>The stack pointer, by the mode's stack width.</summary>
static unsafe class Stack
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Lowered(CpuState* s, ulong bytes) =>
        (s->ModeKey & CodeKey.Long) != 0 ? s->Gpr[Gpr.Rsp] - bytes : Narrow(s, s->Gpr[Gpr.Rsp] - bytes);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Linear(CpuState* s, ulong pointer) =>
        (s->ModeKey & CodeKey.Long) != 0 ? pointer
        : (s->ModeKey & (ulong)CodeMode.Flat << CodeKey.Shift) != 0 ? Narrow(s, pointer)
        : Segmentation.Linear(s, Segment.Ss, (uint)Narrow(s, pointer));

    /// <summary>Sets RSP, ESP or SP, leaving what the width leaves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetPointer(CpuState* s, ulong pointer)
    {
        if ((s->ModeKey & CodeKey.Long) != 0) s->Gpr[Gpr.Rsp] = pointer;
        else if (IsWide(s)) s->Gpr[Gpr.Rsp] = (uint)pointer;
        else *(ushort*)(s->Gpr + Gpr.Rsp) = (ushort)pointer;
    }

    /// <summary>
    /// A push or pop failed: where its address was to blame, that is the stack's fault, whatever the operand's
    /// segment.
    /// </summary>
    public static Op* Fail(CpuState* s)
    {
        if (s->Leave == X86.Leave.Fault && s->FaultVector == Vector.GeneralProtection) s->FaultVector = Vector.StackFault;
        return null;
    }

    static bool IsWide(CpuState* s) => (s->ModeKey & (ulong)CodeMode.Stack32 << CodeKey.Shift) != 0;

    static ulong Narrow(CpuState* s, ulong pointer) => IsWide(s) ? (uint)pointer : (ushort)pointer;
}
