using System.Runtime.CompilerServices;

namespace VmLab.X86;

/// <summary>Handlers of near jumps, calls and returns, which end a block.</summary>
/// <remarks>
/// A direct target comes in <see cref="Op.Immediate"/> relative to the block's start. A conditional branch is
/// followed by an
/// <see cref="End"/> op for the way straight on. "Near" handlers follow links within the page, "Far" ones look up the
/// target.
/// </remarks>
static unsafe class Branches
{
    const MethodImplOptions Hot = MethodImplOptions.AggressiveOptimization;

    /// <summary>Goes on at a target in this page; no instruction of its own.</summary>
    [MethodImpl(Hot)]
    public static Op* End(CpuState* s, Op* op) => Exec.Follow(s, op);

    /// <summary>Goes on at a target in another page.</summary>
    [MethodImpl(Hot)]
    public static Op* EndAcross(CpuState* s, Op* op) => Exec.GotoLinked(s, op, Target(s, op));

    [MethodImpl(Hot)]
    public static Op* JumpIf<TCondition>(CpuState* s, Op* op)
        where TCondition : ICondition =>
        TCondition.IsMet(s) ? Exec.Follow(s, op) : op + 1;

    [MethodImpl(Hot)]
    public static Op* JumpAcrossIf<TCondition>(CpuState* s, Op* op)
        where TCondition : ICondition =>
        TCondition.IsMet(s) ? Exec.GotoLinked(s, op, Target(s, op)) : op + 1;

    [MethodImpl(Hot)]
    public static Op* JumpTo<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        ulong target = W.Read(source);
        return IsAllowed(s, target) ? Exec.Goto(s, target) : Exec.RaiseGeneralProtection(s, op);
    }

    [MethodImpl(Hot)]
    public static Op* Call<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        if (!TryPush<W>(s, op, Exec.NextRip(s, op))) return null;
        return Exec.Follow(s, op);
    }

    [MethodImpl(Hot)]
    public static Op* CallAcross<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        if (!TryPush<W>(s, op, Exec.NextRip(s, op))) return null;
        return Exec.GotoLinked(s, op, Target(s, op));
    }

    /// <summary>A jump of 16 bits in wider code.</summary>
    public static Op* JumpNarrow(CpuState* s, Op* op) => Exec.Goto(s, (ushort)Target(s, op));

    public static Op* JumpNarrowIf<TCondition>(CpuState* s, Op* op)
        where TCondition : ICondition =>
        TCondition.IsMet(s) ? JumpNarrow(s, op) : op + 1;

    public static Op* CallNarrow(CpuState* s, Op* op) =>
        TryPush<W16>(s, op, Exec.NextRip(s, op)) ? JumpNarrow(s, op) : null;

    [MethodImpl(Hot)]
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
    [MethodImpl(Hot)]
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

    /// <summary>
    /// LOOP, LOOPE, LOOPNE and JRCXZ; <see cref="Op.Extra"/> is the address width in bits, B is 1 for a target of 16 bits.
    /// </summary>
    public static Op* Loop<TKind>(CpuState* s, Op* op)
        where TKind : ILoop
    {
        ulong mask = op->Extra == 64 ? ulong.MaxValue : op->Extra == 32 ? uint.MaxValue : ushort.MaxValue;
        ulong count = s->Gpr[Gpr.Rcx];
        if (TKind.Counts)
        {
            count--;
            if (op->Extra == 64) s->Gpr[Gpr.Rcx] = count;
            else if (op->Extra == 32) s->Gpr[Gpr.Rcx] = (uint)count;
            else *(ushort*)(s->Gpr + Gpr.Rcx) = (ushort)count;
        }
        if (!TKind.IsTaken(s, (count & mask) == 0)) return op + 1;
        return op->B != 0 ? JumpNarrow(s, op) : Exec.GotoLinked(s, op, Target(s, op));
    }

    static ulong Target(CpuState* s, Op* op)
    {
        ulong target = s->Rip + op->Immediate;
        return (s->ModeKey & CodeKey.Long) != 0 ? target : (uint)target;
    }

    // A target that is not canonical faults on the branch itself. Source: Intel SDM vol. 2, JMP, CALL, RET.
    static bool IsAllowed(CpuState* s, ulong target) => (s->ModeKey & CodeKey.Long) == 0 || Vcpu.IsCanonical(target);

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
