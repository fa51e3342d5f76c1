using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using VmLab.X86.Floating;

namespace VmLab.X86;

/// <summary>An MMX register, the significand of an x87 one; <see cref="Op.B"/> is its byte offset among them.</summary>
unsafe struct MmxRegister : ISource
{
    public static bool CanFault => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Pointer(CpuState* s, Op* op, int bytes) => Mmx.Register(s, op->B);
}

/// <summary>Handlers of MMX; a register's offset is 16 times its number, as the x87 registers lie.</summary>
/// <remarks>
/// Each waits for a pending x87 exception, and ends with TOP at 0 and all registers in use; one that is written to
/// becomes a NaN to the x87. Source: Intel SDM vol. 1 §9.5, §9.6; vol. 3A §14.2.
/// </remarks>
static unsafe class Mmx
{
    const ulong Ones = 0xFFFF;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Register(CpuState* s, byte offset) => (byte*)&s->X87.Registers + offset;

    /// <summary>Target := operation(target, source).</summary>
    public static Op* Apply<TOp, TLoad, TSource>(CpuState* s, Op* op)
        where TOp : IVector
        where TLoad : ILoad
        where TSource : ISource
    {
        if (s->X87.HasPendingException) return RaisePending(s, op);
        byte* source = TSource.Pointer(s, op, TLoad.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        Vector128<byte> old = Low<W64>.From(Register(s, op->A));
        Write(s, op->A, TOp.Apply(old, TLoad.From(source), (byte)op->Immediate).AsUInt64().ToScalar());
        return op + 1;
    }

    /// <summary>PINSRW.</summary>
    public static Op* Insert<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        if (s->X87.HasPendingException) return RaisePending(s, op);
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        W.Write(Register(s, op->A), W.Read(source));
        var start = (byte)(op->A & ~15);
        Write(s, start, *(ulong*)Register(s, start));
        return op + 1;
    }

    /// <summary>An XMM register := operation(it, an MMX register).</summary>
    public static Op* ApplyToXmm<TOp>(CpuState* s, Op* op)
        where TOp : IVector
    {
        if (s->X87.HasPendingException) return RaisePending(s, op);
        X87.EnterMmx(ref s->X87);
        return Sse.Apply<TOp, Low<W64>, MmxRegister>(s, op);
    }

    /// <summary>A general register := an MMX register, or an element of it.</summary>
    public static Op* Load<WTo, WFrom>(CpuState* s, Op* op)
        where WTo : IWidth
        where WFrom : IWidth
    {
        if (s->X87.HasPendingException) return RaisePending(s, op);
        X87.EnterMmx(ref s->X87);
        return Moves.LoadZeroExtended<WTo, WFrom, MmxRegister>(s, op);
    }

    /// <summary>PMOVMSKB.</summary>
    public static Op* Summarize<TOp>(CpuState* s, Op* op)
        where TOp : ISummary
    {
        if (s->X87.HasPendingException) return RaisePending(s, op);
        X87.EnterMmx(ref s->X87);
        *(ulong*)((byte*)s + op->A) = TOp.Of(Low<W64>.From(Register(s, op->B)));
        return op + 1;
    }

    public static Op* Store<W, TAddress>(CpuState* s, Op* op)
        where W : IWidth
        where TAddress : IAddress
    {
        if (s->X87.HasPendingException) return RaisePending(s, op);
        Op* next = Exec.Store<W>(s, op, TAddress.Of(s, op), W.Read(Register(s, op->B)));
        if (next != null) X87.EnterMmx(ref s->X87);
        return next;
    }

    /// <summary>EMMS.</summary>
    public static Op* Leave(CpuState* s, Op* op)
    {
        if (s->X87.HasPendingException) return RaisePending(s, op);
        X87.LeaveMmx(ref s->X87);
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write(CpuState* s, byte offset, ulong value)
    {
        var register = (ulong*)Register(s, offset);
        register[0] = value;
        register[1] = Ones;
        X87.EnterMmx(ref s->X87);
    }

    public static Op* RaisePending(CpuState* s, Op* op) => Exec.Raise(s, op, Vector.FloatingPoint);
}

/// <summary>For MMX: an operation that puts the target's elements before the source's, on half registers.</summary>
struct Joined<TOp> : IVector
    where TOp : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<byte> both = Vector128.Create(a.GetLower(), b.GetLower());
        return TOp.Apply(both, both, control);
    }
}

/// <summary>For MMX: the upper half of what the operation gives for two lower halves.</summary>
struct UpperHalf<TOp> : IVector
    where TOp : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.CreateScalar(TOp.Apply(a, b, control).AsUInt64().GetElement(1)).AsByte();
}

/// <summary>PSHUFB of MMX: places 0 to 7.</summary>
struct ShuffleEightBytes : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.Shuffle(a, b & Vector128.Create((byte)0x87));
}

/// <summary>PALIGNR of MMX: eight bytes out of the source with the target above it.</summary>
struct AlignEightRight : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        ShiftBytesRight.Apply(Vector128.Create(b.GetLower(), a.GetLower()), default, control);
}
