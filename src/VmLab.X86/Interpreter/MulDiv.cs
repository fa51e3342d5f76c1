using System.Runtime.CompilerServices;

namespace VmLab.X86;

/// <summary>Handlers of multiplication and division. Source: Intel SDM vol. 2, by mnemonic.</summary>
/// <remarks>
/// Undefined by the manual and defined here: after a multiplication SF, ZF and PF follow the low half and AF is
/// clear; a division
/// leaves the flags as they were.
/// </remarks>
static unsafe class MulDiv
{
    public static Op* Multiply<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        ulong a = W.Read((byte*)s), b = W.Read(source), high;
        ulong low;
        if (W.Bits == 64) high = Math.BigMul(a, b, out low);
        else
        {
            low = a * b;
            high = low >> W.Bits & W.Mask;
        }
        StoreWide<W>(s, low, high);
        SetFlags<W>(s, low, high != 0);
        return op + 1;
    }
    public static Op* MultiplySigned<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        long a = (long)W.SignExtend(W.Read((byte*)s)), b = (long)W.SignExtend(W.Read(source));
        long high = Math.BigMul(a, b, out long low);
        bool overflows = high != low >> 63 || W.SignExtend((ulong)low) != (ulong)low;
        StoreWide<W>(s, (ulong)low, W.Bits == 64 ? (ulong)high : (ulong)low >> W.Bits & W.Mask);
        SetFlags<W>(s, (ulong)low, overflows);
        return op + 1;
    }

    /// <summary>IMUL with two operands.</summary>
    public static Op* MultiplyInto<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        byte* target = (byte*)s + op->A;
        W.WriteRegister(target, Product<W>(s, W.Read(target), W.Read(source)));
        return op + 1;
    }

    /// <summary>IMUL with three operands, the last immediate.</summary>
    public static Op* MultiplyImmediate<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        W.WriteRegister((byte*)s + op->A, Product<W>(s, W.Read(source), op->Immediate));
        return op + 1;
    }
    public static Op* Divide<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        ulong divisor = W.Read(source), quotient, remainder;
        var (low, high) = LoadWide<W>(s);
        if (divisor <= high) return Exec.Raise(s, op, Vector.DivideError);   // zero, or a quotient that does not fit
        if (W.Bits < 64 || high == 0)
        {
            ulong dividend = W.Bits < 64 ? high << (W.Bits & 63) | low : low;
            (quotient, remainder) = Math.DivRem(dividend, divisor);
        }
        else
        {
            UInt128 dividend = new(high, low);
            quotient = (ulong)(dividend / divisor);
            remainder = low - quotient * divisor;
        }
        StoreWide<W>(s, quotient, remainder);
        return op + 1;
    }
    public static Op* DivideSigned<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        long divisor = (long)W.SignExtend(W.Read(source));
        var (low, high) = LoadWide<W>(s);
        Int128 dividend = W.Bits == 64
            ? new Int128(high, low)
            : W.Bits == 32 ? (long)(high << 32 | low) : W.Bits == 16 ? (int)(high << 16 | low) : (short)(high << 8 | low);
        // By magnitudes: the least dividend by -1 does not fit its own type.
        bool isNegative = dividend < 0 != divisor < 0;
        var magnitude = (UInt128)(dividend < 0 ? -dividend : dividend);
        ulong by = (ulong)(divisor < 0 ? -divisor : divisor), most = (1UL << W.Bits - 1) - (isNegative ? 0UL : 1UL);
        if (by == 0 || magnitude / by is var quotient && quotient > most) return Exec.Raise(s, op, Vector.DivideError);
        var remainder = (ulong)(magnitude - quotient * by);
        StoreWide<W>(s, isNegative ? 0 - (ulong)quotient : (ulong)quotient, dividend < 0 ? 0 - remainder : remainder);
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static ulong Product<W>(CpuState* s, ulong a, ulong b)
        where W : IWidth
    {
        long high = Math.BigMul((long)W.SignExtend(a), (long)W.SignExtend(b), out long low);
        SetFlags<W>(s, (ulong)low, high != low >> 63 || W.SignExtend((ulong)low) != (ulong)low);
        return (ulong)low;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void SetFlags<W>(CpuState* s, ulong low, bool overflows)
        where W : IWidth
    {
        s->FlagsResult = W.SignExtend(low);
        s->FlagsCarries = Flags.Vector(overflows, overflows);
    }

    // The 8-bit forms keep both halves in AX; the others in RDX:RAX.
    static void StoreWide<W>(CpuState* s, ulong low, ulong high)
        where W : IWidth
    {
        if (W.Bits == 8)
        {
            ((byte*)s)[0] = (byte)low;
            ((byte*)s)[1] = (byte)high;
            return;
        }
        W.WriteRegister((byte*)s, low);
        W.WriteRegister((byte*)(s->Gpr + Gpr.Rdx), high);
    }

    static (ulong Low, ulong High) LoadWide<W>(CpuState* s)
        where W : IWidth =>
        W.Bits == 8
            ? (((byte*)s)[0], ((byte*)s)[1])
            : (W.Read((byte*)s), W.Read((byte*)(s->Gpr + Gpr.Rdx)));
}
