namespace VmLab.X86;

/// <summary>
/// Handlers of what 64-bit mode no longer has, and of far pointers. Source: Intel SDM vol. 2, by mnemonic.
/// </summary>
/// <remarks>
/// Flags that the manual leaves undefined are defined here: AAA and AAS set SF, ZF and PF by AL and clear OF; DAA, DAS, AAM and AAD
/// clear OF, and the last two AF and CF.
/// </remarks>
static unsafe class LegacyOps
{
    /// <summary>PUSHA: all eight registers, the stack pointer as it was.</summary>
    public static Op* PushAll<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        ulong pointer = Stack.Lowered(s, 8 * (ulong)W.Bytes);
        byte* frame = Exec.Writable(s, op, Stack.Linear(s, pointer), 8 * W.Bytes);
        if (frame == null) return Exec.Abandon(s, op);
        for (int register = 0; register < 8; register++) W.Write(frame + (7 - register) * W.Bytes, s->Gpr[register]);
        Stack.SetPointer(s, pointer);
        return Exec.Finish(s, op);
    }

    /// <summary>POPA: all but the stack pointer, whose place is skipped.</summary>
    public static Op* PopAll<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        byte* frame = Exec.Readable(s, op, Stack.Linear(s, s->Gpr[Gpr.Rsp]), 8 * W.Bytes);
        if (frame == null) return Exec.Abandon(s, op);
        for (int register = 0; register < 8; register++)
            if (register != Gpr.Rsp)
                W.WriteRegister((byte*)(s->Gpr + register), W.Read(frame + (7 - register) * W.Bytes));
        Stack.SetPointer(s, s->Gpr[Gpr.Rsp] + 8 * (ulong)W.Bytes);
        return op + 1;
    }

    /// <summary>DAA and DAS.</summary>
    public static Op* AdjustPacked<TDirection>(CpuState* s, Op* op)
        where TDirection : IAdjustment
    {
        byte old = *(byte*)s;
        bool carry = Flags.Carry(s), adjusts = (old & 15) > 9 || Flags.Adjust(s);
        int low = adjusts ? old + TDirection.Sign * 6 : old;
        bool adjustsHigh = old > 0x99 || carry;
        bool carries = adjustsHigh || TDirection.KeepsBorrow && adjusts && low < 0;
        *(byte*)s = (byte)(adjustsHigh ? low + TDirection.Sign * 0x60 : low);
        SetFlags(s, (carries ? Rflags.Carry : 0) | (adjusts ? Rflags.Adjust : 0));
        return op + 1;
    }

    /// <summary>AAA and AAS.</summary>
    public static Op* AdjustUnpacked<TDirection>(CpuState* s, Op* op)
        where TDirection : IAdjustment
    {
        ushort ax = *(ushort*)s;
        bool adjusts = (ax & 15) > 9 || Flags.Adjust(s);
        if (adjusts) ax = (ushort)(ax + TDirection.Sign * 0x106);
        *(ushort*)s = (ushort)(ax & 0xFF0F);
        SetFlags(s, adjusts ? Rflags.Carry | Rflags.Adjust : 0);
        return op + 1;
    }

    /// <summary>AAM: AL divided by an immediate.</summary>
    public static Op* AdjustAfterMultiply(CpuState* s, Op* op)
    {
        if (op->Immediate == 0) return Exec.Raise(s, op, Vector.DivideError);
        int al = *(byte*)s, by = (byte)op->Immediate;
        *(ushort*)s = (ushort)(al / by << 8 | al % by);
        SetFlags(s, 0);
        return op + 1;
    }

    /// <summary>AAD: AH times an immediate, and AL.</summary>
    public static Op* AdjustBeforeDivide(CpuState* s, Op* op)
    {
        *(ushort*)s = (byte)(((byte*)s)[0] + ((byte*)s)[1] * (int)op->Immediate);
        SetFlags(s, 0);
        return op + 1;
    }

    /// <summary>SALC, which no manual of today lists: CF all over AL.</summary>
    public static Op* SpreadCarry(CpuState* s, Op* op)
    {
        *(byte*)s = Flags.Carry(s) ? byte.MaxValue : (byte)0;
        return op + 1;
    }

    /// <summary>BOUND: #BR unless the signed index lies within two signed bounds.</summary>
    public static Op* CheckBounds<W, TAddress>(CpuState* s, Op* op)
        where W : IWidth
        where TAddress : IAddress
    {
        byte* bounds = Exec.Readable(s, op, TAddress.Of(s, op), 2 * W.Bytes);
        if (bounds == null) return Exec.Abandon(s, op);
        long index = (long)W.SignExtend(W.Read((byte*)s + op->A));
        bool isInside = index >= (long)W.SignExtend(W.Read(bounds))
            && index <= (long)W.SignExtend(W.Read(bounds + W.Bytes));
        return isInside ? op + 1 : Exec.Raise(s, op, Vector.BoundRange);
    }

    /// <summary>INTO: the interrupt of vector 4 when OF is set.</summary>
    public static Op* InterruptOnOverflow(CpuState* s, Op* op) =>
        Flags.Overflow(s) ? SystemOps.SoftwareInterrupt(s, op) : op + 1;

    /// <summary>ARPL: raises a selector's RPL to another's.</summary>
    public static Op* AdjustPrivilege(CpuState* s, Op* op)
    {
        var target = (ushort*)((byte*)s + op->A);
        Flags.SetZero(s, Raise(target, *(ushort*)((byte*)s + op->B)));
        return op + 1;
    }

    /// <inheritdoc cref="AdjustPrivilege"/>
    public static Op* AdjustPrivilegeInMemory<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        ulong linear = TAddress.Of(s, op);
        byte* source = Exec.Readable(s, op, linear, 2);
        if (source == null) return Exec.Abandon(s, op);
        ushort selector = *(ushort*)source;
        bool isRaised = Raise(&selector, *(ushort*)((byte*)s + op->B));
        if (isRaised && Exec.Store<W16>(s, op, linear, selector) == null) return null;
        Flags.SetZero(s, isRaised);
        return op + 1;
    }

    /// <summary>LDS, LES, LSS, LFS, LGS; <see cref="Op.Extra"/> is the segment.</summary>
    public static Op* LoadFarPointer<W, TAddress>(CpuState* s, Op* op)
        where W : IWidth
        where TAddress : IAddress
    {
        byte* pointer = Exec.Readable(s, op, TAddress.Of(s, op), W.Bytes + 2);
        if (pointer == null) return Exec.Abandon(s, op);
        ulong offset = W.Read(pointer);
        if (!Vcpu.Of(s).TryLoadSegment(op->Extra, *(ushort*)(pointer + W.Bytes))) return Exec.Abandon(s, op);
        W.WriteRegister((byte*)s + op->A, offset);
        return Exec.LeaveAfter(s, op, Leave.Next);
    }

    /// <summary>
    /// CALL ptr16:n: the selector is in <see cref="Op.Displacement"/>, the width in <see cref="Op.Extra"/>.
    /// </summary>
    public static Op* CallFarDirect(CpuState* s, Op* op) =>
        Vcpu.Of(s).CallFar(op, (ushort)op->Displacement, op->Immediate, op->Extra);

    static bool Raise(ushort* selector, ushort to)
    {
        if ((*selector & 3) >= (to & 3)) return false;
        *selector = (ushort)(*selector & ~3 | to & 3);
        return true;
    }

    static void SetFlags(CpuState* s, ulong carries)
    {
        s->FlagsResult = (ulong)(sbyte)*(byte*)s;
        s->FlagsCarries = 0;
        Flags.SetArithmetic(s, Flags.Arithmetic(s) & ~(Rflags.Carry | Rflags.Adjust) | carries);
    }
}

/// <summary>Whether decimals are adjusted after an addition or a subtraction.</summary>
interface IAdjustment
{
    static abstract int Sign { get; }

    /// <summary>A borrow of the low digit is a borrow of the whole.</summary>
    static abstract bool KeepsBorrow { get; }
}

struct AfterAddition : IAdjustment
{
    public static int Sign => 1;
    public static bool KeepsBorrow => false;
}

struct AfterSubtraction : IAdjustment
{
    public static int Sign => -1;
    public static bool KeepsBorrow => true;
}
