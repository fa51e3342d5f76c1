using System.Numerics;
using System.Runtime.CompilerServices;

namespace VmLab.X86;

/// <summary>A two-operand arithmetic or logic operation. Operands come zero-extended.</summary>
unsafe interface IBinary
{
    /// <summary>The result alone, for where nobody can see the flags.</summary>
    static virtual ulong Compute<W>(ulong a, ulong b)
        where W : IWidth => throw new NotSupportedException("This operation's flags are never dead.");

    /// <summary>The result is stored; CMP and TEST only set flags.</summary>
    static abstract bool Writes { get; }

    static abstract ulong Apply<W>(CpuState* s, ulong a, ulong b)
        where W : IWidth;
}

unsafe struct Add : IBinary
{
    public static bool Writes => true;

    public static ulong Compute<W>(ulong a, ulong b)
        where W : IWidth => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a, ulong b)
        where W : IWidth
    {
        ulong r = a + b;
        s->FlagsResult = W.SignExtend(r);
        s->FlagsCarries = Flags.Vector(a & b | (a | b) & ~r, W.Bits);
        return r;
    }
}

unsafe struct Adc : IBinary
{
    public static bool Writes => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a, ulong b)
        where W : IWidth
    {
        ulong r = a + b + (s->FlagsCarries >> 63);
        s->FlagsResult = W.SignExtend(r);
        s->FlagsCarries = Flags.Vector(a & b | (a | b) & ~r, W.Bits);
        return r;
    }
}

unsafe struct Sub : IBinary
{
    public static bool Writes => true;

    public static ulong Compute<W>(ulong a, ulong b)
        where W : IWidth => a - b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a, ulong b)
        where W : IWidth
    {
        ulong r = a - b;
        s->FlagsResult = W.SignExtend(r);
        s->FlagsCarries = Flags.Vector(~a & b | ~(a ^ b) & r, W.Bits);
        return r;
    }
}

unsafe struct Sbb : IBinary
{
    public static bool Writes => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a, ulong b)
        where W : IWidth
    {
        ulong r = a - b - (s->FlagsCarries >> 63);
        s->FlagsResult = W.SignExtend(r);
        s->FlagsCarries = Flags.Vector(~a & b | ~(a ^ b) & r, W.Bits);
        return r;
    }
}

unsafe struct Cmp : IBinary
{
    public static bool Writes => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a, ulong b)
        where W : IWidth => Sub.Apply<W>(s, a, b);
}

unsafe struct And : IBinary
{
    public static bool Writes => true;

    public static ulong Compute<W>(ulong a, ulong b)
        where W : IWidth => a & b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a, ulong b)
        where W : IWidth => Logic.Set<W>(s, a & b);
}

unsafe struct Test : IBinary
{
    public static bool Writes => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a, ulong b)
        where W : IWidth => Logic.Set<W>(s, a & b);
}

unsafe struct Or : IBinary
{
    public static bool Writes => true;

    public static ulong Compute<W>(ulong a, ulong b)
        where W : IWidth => a | b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a, ulong b)
        where W : IWidth => Logic.Set<W>(s, a | b);
}

unsafe struct Xor : IBinary
{
    public static bool Writes => true;

    public static ulong Compute<W>(ulong a, ulong b)
        where W : IWidth => a ^ b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a, ulong b)
        where W : IWidth => Logic.Set<W>(s, a ^ b);
}

static unsafe class Logic
{
    /// <summary>
    /// CF, OF and AF are cleared (AF is undefined by the manual; we define it 0), the others follow the result.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Set<W>(CpuState* s, ulong r)
        where W : IWidth
    {
        s->FlagsResult = W.SignExtend(r);
        s->FlagsCarries = 0;
        return r;
    }
}

/// <summary>A one-operand operation.</summary>
unsafe interface IUnary
{
    /// <inheritdoc cref="IBinary.Compute"/>
    static virtual ulong Compute<W>(ulong a)
        where W : IWidth => throw new NotSupportedException("This operation's flags are never dead.");

    static abstract ulong Apply<W>(CpuState* s, ulong a)
        where W : IWidth;
}

unsafe struct Inc : IUnary
{
    public static ulong Compute<W>(ulong a)
        where W : IWidth => a + 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a)
        where W : IWidth
    {
        bool carry = Flags.Carry(s);
        ulong r = Add.Apply<W>(s, a, 1);
        Flags.SetCarryOverflow(s, carry, Flags.Overflow(s));
        return r;
    }
}

unsafe struct Dec : IUnary
{
    public static ulong Compute<W>(ulong a)
        where W : IWidth => a - 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a)
        where W : IWidth
    {
        bool carry = Flags.Carry(s);
        ulong r = Sub.Apply<W>(s, a, 1);
        Flags.SetCarryOverflow(s, carry, Flags.Overflow(s));
        return r;
    }
}

unsafe struct Neg : IUnary
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a)
        where W : IWidth => Sub.Apply<W>(s, 0, a);
}

unsafe struct Not : IUnary
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a)
        where W : IWidth => ~a;
}

/// <summary>Handlers of arithmetic and logic. Source: Intel SDM vol. 2, by mnemonic.</summary>
static unsafe class Alu
{
    public static Op* Binary<TOp, W, TSource>(CpuState* s, Op* op)
        where TOp : IBinary
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        byte* target = (byte*)s + op->A;
        ulong result = TOp.Apply<W>(s, W.Read(target), W.Read(source));
        if (TOp.Writes) W.WriteRegister(target, result);
        return op + 1;
    }
    public static Op* BinaryMemory<TOp, W, TAddress, TSource>(CpuState* s, Op* op)
        where TOp : IBinary
        where W : IWidth
        where TAddress : IAddress
        where TSource : ISource
    {
        ulong linear = TAddress.Of(s, op);
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (!TOp.Writes)
        {
            byte* read = Exec.Readable(s, op, linear, W.Bytes);
            if (read == null) return Exec.Abandon(s, op);
            TOp.Apply<W>(s, W.Read(read), W.Read(source));
            return op + 1;
        }
        byte* target = Exec.Modifiable(s, op, linear, W.Bytes);
        if (target == null) return Exec.Abandon(s, op);
        W.Write(target, TOp.Apply<W>(s, W.Read(target), W.Read(source)));
        return Exec.Finish(s, op);
    }
    public static Op* Unary<TOp, W>(CpuState* s, Op* op)
        where TOp : IUnary
        where W : IWidth
    {
        byte* target = (byte*)s + op->A;
        W.WriteRegister(target, TOp.Apply<W>(s, W.Read(target)));
        return op + 1;
    }
    public static Op* UnaryMemory<TOp, W, TAddress>(CpuState* s, Op* op)
        where TOp : IUnary
        where W : IWidth
        where TAddress : IAddress
    {
        byte* target = Exec.Modifiable(s, op, TAddress.Of(s, op), W.Bytes);
        if (target == null) return Exec.Abandon(s, op);
        W.Write(target, TOp.Apply<W>(s, W.Read(target)));
        return Exec.Finish(s, op);
    }

    /// <summary>XADD to a register: target and source exchange, then the target takes the sum.</summary>
    public static Op* ExchangeAdd<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        byte* target = (byte*)s + op->A, source = (byte*)s + op->B;
        ulong old = W.Read(target);
        ulong sum = Add.Apply<W>(s, old, W.Read(source));
        W.WriteRegister(source, old);
        W.WriteRegister(target, sum);
        return op + 1;
    }
    public static Op* ExchangeAddMemory<W, TAddress>(CpuState* s, Op* op)
        where W : IWidth
        where TAddress : IAddress
    {
        byte* target = Exec.Modifiable(s, op, TAddress.Of(s, op), W.Bytes);
        if (target == null) return Exec.Abandon(s, op);
        byte* source = (byte*)s + op->B;
        ulong old = W.Read(target);
        W.Write(target, Add.Apply<W>(s, old, W.Read(source)));
        W.WriteRegister(source, old);
        return Exec.Finish(s, op);
    }

    public static Op* CompareExchange<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        byte* target = (byte*)s + op->A, accumulator = (byte*)s;
        ulong old = W.Read(target);
        Sub.Apply<W>(s, W.Read(accumulator), old);
        if (Flags.Zero(s)) W.WriteRegister(target, W.Read((byte*)s + op->B));
        else W.WriteRegister(accumulator, old);
        return op + 1;
    }
    public static Op* CompareExchangeMemory<W, TAddress>(CpuState* s, Op* op)
        where W : IWidth
        where TAddress : IAddress
    {
        byte* target = Exec.Modifiable(s, op, TAddress.Of(s, op), W.Bytes);
        if (target == null) return Exec.Abandon(s, op);
        byte* accumulator = (byte*)s;
        ulong old = W.Read(target);
        Sub.Apply<W>(s, W.Read(accumulator), old);
        if (Flags.Zero(s)) W.Write(target, W.Read((byte*)s + op->B));
        else
        {
            W.Write(target, old);   // the store happens either way
            W.WriteRegister(accumulator, old);
        }
        return Exec.Finish(s, op);
    }

    /// <summary>CMPXCHG8B and CMPXCHG16B: only ZF changes. The 16-byte form faults when not aligned.</summary>
    public static Op* CompareExchangePair<W, TAddress>(CpuState* s, Op* op)
        where W : IWidth
        where TAddress : IAddress
    {
        ulong linear = TAddress.Of(s, op);
        if (W.Bytes == 8 && (linear & 15) != 0) return Exec.RaiseGeneralProtection(s, op);
        byte* target = Exec.Modifiable(s, op, linear, 2 * W.Bytes);
        if (target == null) return Exec.Abandon(s, op);
        ulong low = W.Read(target), high = W.Read(target + W.Bytes);
        bool isEqual = low == (s->Gpr[Gpr.Rax] & W.Mask) && high == (s->Gpr[Gpr.Rdx] & W.Mask);
        if (isEqual)
        {
            W.Write(target, s->Gpr[Gpr.Rbx]);
            W.Write(target + W.Bytes, s->Gpr[Gpr.Rcx]);
        }
        else
        {
            W.WriteRegister((byte*)(s->Gpr + Gpr.Rax), low);
            W.WriteRegister((byte*)(s->Gpr + Gpr.Rdx), high);
        }
        Flags.SetZero(s, isEqual);
        return Exec.Finish(s, op);
    }

    public static Op* ByteSwap<W>(CpuState* s, Op* op)
        where W : IWidth
    {
        byte* target = (byte*)s + op->A;
        ulong value = W.Read(target);
        // The 16-bit form is undefined by the manual; processors give 0.
        W.WriteRegister(target, W.Bits switch
        {
            64 => System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(value),
            32 => System.Buffers.Binary.BinaryPrimitives.ReverseEndianness((uint)value),
            _ => 0,
        });
        return op + 1;
    }

    /// <summary>
    /// BSF: a zero source sets ZF and leaves the target (undefined by the manual; processors do this).
    /// </summary>
    public static Op* BitScanForward<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        ulong value = W.Read(source);
        SetScanFlags(s, value);
        if (value != 0) W.WriteRegister((byte*)s + op->A, (ulong)BitOperations.TrailingZeroCount(value));
        return op + 1;
    }

    /// <inheritdoc cref="BitScanForward"/>
    public static Op* BitScanReverse<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        ulong value = W.Read(source);
        SetScanFlags(s, value);
        if (value != 0) W.WriteRegister((byte*)s + op->A, (ulong)BitOperations.Log2(value));
        return op + 1;
    }

    public static Op* PopulationCount<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        ulong value = W.Read(source);
        Flags.SetArithmetic(s, value == 0 ? Rflags.Zero : 0);
        W.WriteRegister((byte*)s + op->A, (ulong)BitOperations.PopCount(value));
        return op + 1;
    }

    /// <summary>CRC32 accumulates the Castagnoli polynomial; flags stay.</summary>
    public static Op* Crc32<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        uint crc = *(uint*)((byte*)s + op->A);
        for (int i = 0; i < W.Bytes; i++) crc = BitOperations.Crc32C(crc, source[i]);
        *(ulong*)((byte*)s + op->A) = crc;
        return op + 1;
    }

    // All but ZF are undefined by the manual; we clear them.
    static void SetScanFlags(CpuState* s, ulong source) => Flags.SetArithmetic(s, source == 0 ? Rflags.Zero : 0);
}
