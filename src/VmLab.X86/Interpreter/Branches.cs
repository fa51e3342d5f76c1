using System.Runtime.CompilerServices;

namespace VmLab.X86;

/// <summary>Handlers of near jumps, calls and returns, which end a block.</summary>
/// <remarks>
/// A direct target comes in <see cref="Op.Immediate"/> relative to the block's start. A conditional branch is
/// followed by an <see cref="End"/> op for the way straight on. Handlers follow links within the page; "Across" ones look the target up.
/// </remarks>
static unsafe class Branches
{
    /// <summary>Goes on at a target in this page; no instruction of its own.</summary>
    public static Op* End(CpuState* s, Op* op) => Exec.Follow(s, op);

    /// <summary>Goes on in another page; no instruction of its own, so that its faults are the next one's.</summary>
    public static Op* EndAcross(CpuState* s, Op* op) => Exec.GotoLinked(s, op, Target(s, op));

    /// <summary>JMP to another page.</summary>
    public static Op* JumpAcross(CpuState* s, Op* op) => JumpLinked(s, op, Target(s, op));

    /// <summary>Jcc with both ways in this page: the <see cref="End"/> behind it is taken at once.</summary>
    public static Op* JumpIf<TCondition>(CpuState* s, Op* op)
        where TCondition : ICondition =>
        TCondition.IsMet(s) ? Exec.Follow(s, op) : Exec.Follow(s, op + 1);   // a branch here: the host's predictor learns from it

    /// <summary>CMP or TEST and the <see cref="JumpIf"/> behind it as one op.</summary>
    public static Op* CompareAndJumpIf<TOp, W, TSource, TCondition>(CpuState* s, Op* op)
        where TOp : IBinary
        where W : IWidth
        where TSource : ISource
        where TCondition : ICondition
    {
        TOp.Apply<W>(s, W.Read((byte*)s + op->A), W.Read(TSource.Pointer(s, op, W.Bytes)));
        return TCondition.IsMet(s) ? Exec.Follow(s, op + 1) : Exec.Follow(s, op + 2);
    }

    /// <summary>Jcc with one way or both in another page.</summary>
    public static Op* JumpAcrossIf<TCondition>(CpuState* s, Op* op)
        where TCondition : ICondition =>
        TCondition.IsMet(s) ? JumpLinked(s, op, Target(s, op)) : op + 1;

    /// <summary>JMP where a target may lie beyond the code segment, or has 16 bits (<see cref="Op.Extra"/>).</summary>
    public static Op* JumpChecked(CpuState* s, Op* op)
    {
        ulong target = CheckedTarget(s, op);
        return IsAllowed(s, target) ? Exec.Goto(s, target) : Exec.RaiseGeneralProtection(s, op);
    }

    /// <inheritdoc cref="JumpChecked"/>
    public static Op* JumpCheckedIf<TCondition>(CpuState* s, Op* op)
        where TCondition : ICondition =>
        TCondition.IsMet(s) ? JumpChecked(s, op) : op + 1;
    public static Op* JumpTo<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        ulong target = W.Read(source);
        return IsAllowed(s, target) ? Exec.Goto(s, target) : Exec.RaiseGeneralProtection(s, op);
    }
    public static Op* Call<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        if (!TryPush<W>(s, op, Exec.NextRip(s, op))) return null;
        return Exec.Follow(s, op);
    }

    /// <summary>CALL to another page: a target that faults leaves the stack as it was.</summary>
    public static Op* CallAcross<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        ulong target = Target(s, op), pointer = Stack.Lowered(s, (ulong)W.Bytes), linear = Stack.Linear(s, pointer);
        TlbEntry* stack = s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        if (!Exec.TryFindCode(s, target, out ulong key) || (stack->Write ^ linear) > (ulong)(4096 - W.Bytes))
            return CallSlow<W>(s, op, target);
        W.Write(stack->At(linear), Exec.NextRip(s, op));
        Stack.SetPointer(s, pointer);
        return Exec.Enter(s, op, target, key);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static Op* CallSlow<W>(CpuState* s, Op* op, ulong target)
        where W : IWidth
    {
        if (!IsAllowed(s, target)) return Exec.RaiseGeneralProtection(s, op);
        return TryPush<W>(s, op, Exec.NextRip(s, op)) ? Exec.GotoLinked(s, op, target) : null;
    }

    /// <summary>CALL where a target may lie beyond the code segment, or has 16 bits (<see cref="Op.Extra"/>).</summary>
    public static Op* CallChecked<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        ulong target = CheckedTarget(s, op);
        if (!IsAllowed(s, target)) return Exec.RaiseGeneralProtection(s, op);
        return TryPush<W>(s, op, Exec.NextRip(s, op)) ? Exec.Goto(s, target) : null;
    }
    public static Op* CallTo<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        ulong target = W.Read(source);
        if (!IsAllowed(s, target)) return Exec.RaiseGeneralProtection(s, op);
        if (!TryPush<W>(s, op, Exec.NextRip(s, op))) return null;
        return Exec.Goto(s, target);
    }

    /// <summary>RET, with the bytes to release in <see cref="Op.Immediate"/>.</summary>
    public static Op* Return<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        ulong rsp = s->Gpr[Gpr.Rsp];
        byte* source = Exec.Readable(s, op, Stack.Linear(s, rsp), W.Bytes);
        if (source == null) return Exec.Abandon(s, op);
        ulong target = W.Read(source);
        if (!IsAllowed(s, target)) return Exec.RaiseGeneralProtection(s, op);
        Stack.SetPointer(s, rsp + (ulong)W.Bytes + op->Immediate);
        return Exec.Goto(s, target);
    }

    /// <summary>LOOP, LOOPE, LOOPNE and JRCXZ; <see cref="Op.Extra"/> is the address width in bits, and B is set for a target of 16.</summary>
    public static Op* Loop<TKind>(CpuState* s, Op* op)
        where TKind : ILoop
    {
        ulong mask = op->Extra == 64 ? ulong.MaxValue : op->Extra == 32 ? uint.MaxValue : ushort.MaxValue;
        ulong before = s->Gpr[Gpr.Rcx], count = before;
        if (TKind.Counts)
        {
            count--;
            if (op->Extra == 64) s->Gpr[Gpr.Rcx] = count;
            else if (op->Extra == 32) s->Gpr[Gpr.Rcx] = (uint)count;
            else *(ushort*)(s->Gpr + Gpr.Rcx) = (ushort)count;
        }
        if (!TKind.IsTaken(s, (count & mask) == 0)) return op + 1;
        ulong target = op->B != 0 ? (ushort)Target(s, op) : Target(s, op);
        if (IsAllowed(s, target)) return Exec.GotoLinked(s, op, target);
        s->Gpr[Gpr.Rcx] = before;
        return Exec.RaiseGeneralProtection(s, op);
    }

    /// <summary>Goes on at a branch's target in another page, or faults at the branch.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Op* JumpLinked(CpuState* s, Op* op, ulong target) =>
        Exec.TryFindCode(s, target, out ulong key) ? Exec.Enter(s, op, target, key) : JumpSlow(s, op, target);

    [MethodImpl(MethodImplOptions.NoInlining)]
    static Op* JumpSlow(CpuState* s, Op* op, ulong target) =>
        IsAllowed(s, target) ? Exec.GotoLinked(s, op, target) : Exec.RaiseGeneralProtection(s, op);

    static ulong Target(CpuState* s, Op* op)
    {
        ulong target = s->Rip + op->Immediate;
        return (s->ModeKey & CodeKey.Long) != 0 ? target : (uint)target;
    }

    static ulong CheckedTarget(CpuState* s, Op* op) => op->Extra == 16 ? (ushort)Target(s, op) : Target(s, op);

    // A target that is not canonical, or beyond CS, faults on the branch itself. Source: Intel SDM vol. 2, JMP, CALL, RET.
    static bool IsAllowed(CpuState* s, ulong target) =>
        (s->ModeKey & CodeKey.Long) != 0 ? Vcpu.IsCanonical(target) : target <= s->SegmentLimits[Segment.Cs];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static bool TryPush<W>(CpuState* s, Op* op, ulong value)
        where W : IWidth => Moves.Push<W>(s, op, value) != null;
}

unsafe interface ILoop
{
    static abstract bool Counts { get; }
    static abstract bool IsTaken(CpuState* s, bool isZero);
}

unsafe struct LoopAlways : ILoop
{
    public static bool Counts => true;
    public static bool IsTaken(CpuState* s, bool isZero) => !isZero;
}

unsafe struct LoopWhileEqual : ILoop
{
    public static bool Counts => true;
    public static bool IsTaken(CpuState* s, bool isZero) => !isZero && Flags.Zero(s);
}

unsafe struct LoopWhileNotEqual : ILoop
{
    public static bool Counts => true;
    public static bool IsTaken(CpuState* s, bool isZero) => !isZero && !Flags.Zero(s);
}

unsafe struct JumpIfCountZero : ILoop
{
    public static bool Counts => false;
    public static bool IsTaken(CpuState* s, bool isZero) => isZero;
}
