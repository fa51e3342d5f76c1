using System.Runtime.CompilerServices;

namespace VmLab.X86;

/// <summary>A shift or rotate. The count is masked already and not zero.</summary>
unsafe interface IShift
{
    /// <inheritdoc cref="IBinary.Compute"/>
    static virtual ulong Compute<W>(ulong value, int count)
        where W : IWidth => throw new NotSupportedException("This operation's flags are never dead.");

    static abstract ulong Apply<W>(CpuState* s, ulong value, int count)
        where W : IWidth;
}

// Flags that the manual leaves undefined (OF for counts above 1, AF always, CF of an overlong SHL or SHR of 8 and 16
// bits) are
// defined here by the formula for a count of 1 applied to the last step, AF clear.

unsafe struct Shl : IShift
{
    public static ulong Compute<W>(ulong value, int count)
        where W : IWidth => count < 64 ? value << count : 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong value, int count)
        where W : IWidth
    {
        ulong r = count < 64 ? value << count : 0;
        bool carry = count <= W.Bits && (value >> W.Bits - count & 1) != 0;
        s->FlagsResult = W.SignExtend(r);
        s->FlagsCarries = Flags.Vector(carry, carry != (r >> W.Bits - 1 & 1) > 0);
        return r;
    }
}

unsafe struct Shr : IShift
{
    public static ulong Compute<W>(ulong value, int count)
        where W : IWidth => value >> count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong value, int count)
        where W : IWidth
    {
        ulong r = value >> count;
        bool carry = (value >> count - 1 & 1) != 0;
        bool overflow = (r >> W.Bits - 2 & 1) != 0;
        s->FlagsResult = W.SignExtend(r);
        s->FlagsCarries = Flags.Vector(carry, overflow);
        return r;
    }
}

unsafe struct Sar : IShift
{
    public static ulong Compute<W>(ulong value, int count)
        where W : IWidth => (ulong)((long)W.SignExtend(value) >> count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong value, int count)
        where W : IWidth
    {
        long wide = (long)W.SignExtend(value);
        ulong r = (ulong)(wide >> count);
        bool carry = (wide >> count - 1 & 1) != 0;
        s->FlagsResult = W.SignExtend(r);
        s->FlagsCarries = Flags.Vector(carry, false);
        return r;
    }
}

unsafe struct Rol : IShift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong value, int count)
        where W : IWidth
    {
        int by = count & W.Bits - 1;
        ulong r = by == 0 ? value : (value << by | value >> W.Bits - by) & W.Mask;
        bool carry = (r & 1) != 0;
        Flags.SetCarryOverflow(s, carry, carry != (r >> W.Bits - 1 & 1) > 0);
        return r;
    }
}

unsafe struct Ror : IShift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong value, int count)
        where W : IWidth
    {
        int by = count & W.Bits - 1;
        ulong r = by == 0 ? value : (value >> by | value << W.Bits - by) & W.Mask;
        bool carry = (r >> W.Bits - 1 & 1) != 0;
        Flags.SetCarryOverflow(s, carry, carry != (r >> W.Bits - 2 & 1) > 0);
        return r;
    }
}

unsafe struct Rcl : IShift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong value, int count)
        where W : IWidth
    {
        int by = count % (W.Bits + 1);
        UInt128 wide = value | (UInt128)(Flags.Carry(s) ? 1UL : 0) << W.Bits;
        if (by != 0) wide = wide << by | wide >> W.Bits + 1 - by;
        ulong r = (ulong)wide & W.Mask;
        bool carry = (wide >> W.Bits & 1) != 0;
        Flags.SetCarryOverflow(s, carry, carry != (r >> W.Bits - 1 & 1) > 0);
        return r;
    }
}

unsafe struct Rcr : IShift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong value, int count)
        where W : IWidth
    {
        int by = count % (W.Bits + 1);
        UInt128 wide = value | (UInt128)(Flags.Carry(s) ? 1UL : 0) << W.Bits;
        if (by != 0) wide = wide >> by | wide << W.Bits + 1 - by;
        ulong r = (ulong)wide & W.Mask;
        bool carry = (wide >> W.Bits & 1) != 0;
        Flags.SetCarryOverflow(s, carry, (r >> W.Bits - 1 & 1) != (r >> W.Bits - 2 & 1));
        return r;
    }
}

/// <summary>Handlers of shifts and of bit tests. Source: Intel SDM vol. 2, by mnemonic.</summary>
static unsafe class Shifts
{
    public static Op* Shift<TOp, W, TCount>(CpuState* s, Op* op)
        where TOp : IShift
        where W : IWidth
        where TCount : ISource
    {
        int count = Count<W>(*TCount.Pointer(s, op, 1));
        byte* target = (byte*)s + op->A;
        ulong value = W.Read(target);
        W.WriteRegister(target, count == 0 ? value : TOp.Apply<W>(s, value, count));   // 32 bits clear the upper half even then
        return op + 1;
    }
    public static Op* ShiftMemory<TOp, W, TAddress, TCount>(CpuState* s, Op* op)
        where TOp : IShift
        where W : IWidth
        where TAddress : IAddress
        where TCount : ISource
    {
        byte* target = Exec.Modifiable(s, op, TAddress.Of(s, op), W.Bytes);
        if (target == null) return Exec.Abandon(s, op);
        int count = Count<W>(*TCount.Pointer(s, op, 1));
        if (count != 0) W.Write(target, TOp.Apply<W>(s, W.Read(target), count));
        return Exec.Finish(s, op);
    }

    /// <summary>
    /// SHLD and SHRD to a register; the count is in <see cref="Op.Immediate"/>, or in CL where <see cref="Op.Extra"/>
    /// says so.
    /// </summary>
    public static Op* DoubleShift<W, TLeft>(CpuState* s, Op* op)
        where W : IWidth
        where TLeft : IDirection
    {
        byte* target = (byte*)s + op->A;
        ulong value = W.Read(target);
        int count = Count<W>(DoubleCount(s, op));
        W.WriteRegister(target, count == 0 ? value : Double<W, TLeft>(s, value, W.Read((byte*)s + op->B), count));
        return op + 1;
    }

    public static Op* DoubleShiftMemory<W, TLeft, TAddress>(CpuState* s, Op* op)
        where W : IWidth
        where TLeft : IDirection
        where TAddress : IAddress
    {
        byte* target = Exec.Modifiable(s, op, TAddress.Of(s, op), W.Bytes);
        if (target == null) return Exec.Abandon(s, op);
        int count = Count<W>(DoubleCount(s, op));
        if (count != 0) W.Write(target, Double<W, TLeft>(s, W.Read(target), W.Read((byte*)s + op->B), count));
        return Exec.Finish(s, op);
    }

    /// <summary>BT, BTS, BTR, BTC of a register; the bit number is taken modulo the width.</summary>
    public static Op* Bit<TOp, W, TSource>(CpuState* s, Op* op)
        where TOp : IBit
        where W : IWidth
        where TSource : ISource
    {
        byte* target = (byte*)s + op->A;
        ulong value = W.Read(target), bit = 1UL << (int)(W.Read(TSource.Pointer(s, op, W.Bytes)) & (ulong)(W.Bits - 1));
        Flags.SetCarry(s, (value & bit) != 0);
        if (TOp.Writes) W.WriteRegister(target, TOp.Apply(value, bit));
        return op + 1;
    }

    /// <summary>
    /// The memory forms: a register's bit number reaches beyond the operand, an immediate's does not.
    /// </summary>
    public static Op* BitMemory<TOp, W, TAddress, TSource>(CpuState* s, Op* op)
        where TOp : IBit
        where W : IWidth
        where TAddress : IAddress
        where TSource : ISource
    {
        ulong number = W.Read(TSource.Pointer(s, op, W.Bytes));
        Op reached = *op;   // the bit's distance wraps with the address
        if (typeof(TSource) == typeof(Register))
            reached.Displacement += ((long)W.SignExtend(number) >> (W.Bytes == 8 ? 6 : W.Bytes == 4 ? 5 : 4)) * W.Bytes;
        ulong linear = TAddress.Of(s, &reached);
        ulong bit = 1UL << (int)(number & (ulong)(W.Bits - 1));
        byte* target = TOp.Writes ? Exec.Modifiable(s, op, linear, W.Bytes) : Exec.Readable(s, op, linear, W.Bytes);
        if (target == null) return Exec.Abandon(s, op);
        ulong value = W.Read(target);
        Flags.SetCarry(s, (value & bit) != 0);
        if (!TOp.Writes) return op + 1;
        W.Write(target, TOp.Apply(value, bit));
        return Exec.Finish(s, op);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static int Count<W>(int raw)
        where W : IWidth => raw & (W.Bits == 64 ? 63 : 31);

    static byte DoubleCount(CpuState* s, Op* op) => op->Extra != 0 ? (byte)s->Gpr[Gpr.Rcx] : (byte)op->Immediate;

    static ulong Double<W, TLeft>(CpuState* s, ulong value, ulong filler, int count)
        where W : IWidth
        where TLeft : IDirection
    {
        // For 16 bits and a count above 16 the result is undefined by the manual; the operand repeats here, as on
        // processors.
        UInt128 wide = TLeft.IsLeft ? (UInt128)value << W.Bits | filler : (UInt128)filler << W.Bits | value;
        if (W.Bits == 16 && !TLeft.IsLeft) wide |= (UInt128)value << 32;
        if (W.Bits == 16 && TLeft.IsLeft) wide = (UInt128)value << 32 | (UInt128)filler << 16 | value;
        int top = W.Bits == 16 && TLeft.IsLeft ? 48 : 2 * W.Bits;
        ulong r, last;
        if (TLeft.IsLeft)
        {
            r = (ulong)(wide >> top - W.Bits - count) & W.Mask;
            last = (ulong)(wide >> top - count) & 1;
        }
        else
        {
            r = (ulong)(wide >> count) & W.Mask;
            last = (ulong)(wide >> count - 1) & 1;
        }
        bool signChanged = ((value ^ r) >> W.Bits - 1 & 1) != 0;
        s->FlagsResult = W.SignExtend(r);
        s->FlagsCarries = Flags.Vector(last != 0, signChanged);
        return r;
    }
}

interface IDirection
{
    static abstract bool IsLeft { get; }
}

struct Left : IDirection
{
    public static bool IsLeft => true;
}

struct Right : IDirection
{
    public static bool IsLeft => false;
}

interface IBit
{
    static abstract bool Writes { get; }
    static abstract ulong Apply(ulong value, ulong bit);
}

struct BitTest : IBit
{
    public static bool Writes => false;
    public static ulong Apply(ulong value, ulong bit) => value;
}

struct BitSet : IBit
{
    public static bool Writes => true;
    public static ulong Apply(ulong value, ulong bit) => value | bit;
}

struct BitReset : IBit
{
    public static bool Writes => true;
    public static ulong Apply(ulong value, ulong bit) => value & ~bit;
}

struct BitComplement : IBit
{
    public static bool Writes => true;
    public static ulong Apply(ulong value, ulong bit) => value ^ bit;
}
