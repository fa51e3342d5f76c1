using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using VmLab.X86.Floating;

namespace VmLab.X86;

/// <summary>An operation on vector registers that hold numbers, under the rules of MXCSR.</summary>
interface IFloatVector
{
    /// <param name="a">The old target.</param>
    /// <param name="b">The source.</param>
    /// <param name="control">The immediate operand, if there is one.</param>
    static abstract Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control, ref FloatContext context);

    /// <summary>There is a quick way for the usual case.</summary>
    static virtual bool HasUsual => false;

    /// <summary>Computes the usual case, of which <see cref="UsualCase"/> tells.</summary>
    static virtual bool TryUsual(Vector128<byte> a, Vector128<byte> b, out Vector128<byte> result)
    {
        result = default;
        return false;
    }
}

/// <summary>Handlers of floating-point arithmetic. An unmasked exception ends in #XM and changes only MXCSR.</summary>
/// <remarks>Source: Intel SDM vol. 1 §11.5; vol. 3A §2.5 (CR4.OSXMMEXCPT).</remarks>
static unsafe class SseFloat
{
    /// <summary>Target := operation(target, source).</summary>
    public static Op* Apply<TOp, TLoad, TSource>(CpuState* s, Op* op)
        where TOp : IFloatVector
        where TLoad : ILoad
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, TLoad.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        byte* target = (byte*)s->Xmm + op->A;
        if (!TOp.HasUsual) return ApplyAny<TOp>(s, op, Vector128.Load(target), TLoad.From(source));

        Vector128<byte> a = Vector128.Load(target), b = TLoad.From(source);
        if (!FloatContext.AllowsUsual(s->Mxcsr) || !TOp.TryUsual(a, b, out Vector128<byte> usual))
            return ApplyRare<TOp>(s, op, a, b);
        usual.Store(target);
        return op + 1;
    }

    /// <summary>As <see cref="Apply"/> to an XMM register, from an MMX register.</summary>
    public static Op* ApplyFromMmx<TOp>(CpuState* s, Op* op)
        where TOp : IFloatVector
    {
        if (s->X87.HasPendingException) return Mmx.RaisePending(s, op);
        X87.EnterMmx(ref s->X87);
        return Apply<TOp, Low<W64>, MmxRegister>(s, op);
    }

    /// <summary>As <see cref="Apply"/>, to an MMX register.</summary>
    public static Op* ApplyToMmx<TOp, TLoad, TSource>(CpuState* s, Op* op)
        where TOp : IFloatVector
        where TLoad : ILoad
        where TSource : ISource
    {
        if (s->X87.HasPendingException) return Mmx.RaisePending(s, op);
        byte* source = TSource.Pointer(s, op, TLoad.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        X87.EnterMmx(ref s->X87);   // even if the conversion raises an exception
        var context = new FloatContext(s->Mxcsr);
        Vector128<byte> result = TOp.Apply(default, TLoad.From(source), 0, ref context);
        if (!context.Retire(ref s->Mxcsr)) return Raise(s, op);
        Mmx.Write(s, op->A, result.AsUInt64().ToScalar());
        return op + 1;
    }

    /// <summary>A general register := a number: CVTSS2SI and its kin.</summary>
    public static Op* ToGeneral<W, TFrom, TTo, TConversion, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TFrom : unmanaged
        where TTo : unmanaged, IBinaryInteger<TTo>
        where TConversion : IConversion<TFrom, TTo>
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, sizeof(TFrom));
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        var context = new FloatContext(s->Mxcsr);
        TTo result = TConversion.Apply(*(TFrom*)source, ref context);
        if (!context.Retire(ref s->Mxcsr)) return Raise(s, op);
        W.WriteRegister((byte*)s + op->A, ulong.CreateTruncating(result));
        return op + 1;
    }

    /// <summary>COMISS, UCOMISS and their kin: ZF, PF and CF tell, the other flags are cleared.</summary>
    public static Op* Compare<TBits, TRelation, TSource>(CpuState* s, Op* op)
        where TBits : unmanaged
        where TRelation : IRelation<TBits>
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, sizeof(TBits));
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        var context = new FloatContext(s->Mxcsr);
        FloatRelation relation = TRelation.Of(*(TBits*)((byte*)s->Xmm + op->A), *(TBits*)source, ref context);
        if (!context.Retire(ref s->Mxcsr)) return Raise(s, op);
        Flags.SetArithmetic(s, (ulong)relation);
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static Op* ApplyRare<TOp>(CpuState* s, Op* op, Vector128<byte> a, Vector128<byte> b)
        where TOp : IFloatVector => ApplyAny<TOp>(s, op, a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Op* ApplyAny<TOp>(CpuState* s, Op* op, Vector128<byte> a, Vector128<byte> b)
        where TOp : IFloatVector
    {
        var context = new FloatContext(s->Mxcsr);
        Vector128<byte> result = TOp.Apply(a, b, (byte)op->Immediate, ref context);
        if (!context.Retire(ref s->Mxcsr)) return Raise(s, op);
        result.Store((byte*)s->Xmm + op->A);
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static Op* Raise(CpuState* s, Op* op) =>
        Exec.Raise(s, op, (s->Cr4 & Cr4.SimdExceptions) != 0 ? Vector.SimdFloatingPoint : Vector.InvalidOpcode);
}

/// <summary>An operation on the lowest numbers; what stands above them in the target stays.</summary>
struct Scalar<TBits, TFormat, TOp> : IFloatVector
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
    where TOp : INumbers
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control, ref FloatContext context)
    {
        Vector128<TBits> old = a.As<byte, TBits>();
        TBits result = TOp.Apply<TBits, TFormat>(old.ToScalar(), b.As<byte, TBits>().ToScalar(), control, ref context);
        return old.WithElement(0, result).As<TBits, byte>();
    }

    public static bool HasUsual => TOp.HasUsual;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryUsual(Vector128<byte> a, Vector128<byte> b, out Vector128<byte> result)
    {
        Vector128<TBits> first = Vector128.CreateScalar(a.As<byte, TBits>().ToScalar());
        if (!UsualCase.TryApply<TBits, TOp>(first, b.As<byte, TBits>(), isScalar: true, out Vector128<TBits> usual))
        {
            result = a;
            return false;
        }
        result = a.As<byte, TBits>().WithElement(0, usual.ToScalar()).As<TBits, byte>();
        return true;
    }
}

/// <summary>An operation on each pair of numbers.</summary>
unsafe struct Packed<TBits, TFormat, TOp> : IFloatVector
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
    where TOp : INumbers
{
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control, ref FloatContext context)
    {
        Vector128<byte> result;
        TBits* x = (TBits*)&a, y = (TBits*)&b, r = (TBits*)&result;
        for (int i = 0; i < 16 / sizeof(TBits); i++) r[i] = TOp.Apply<TBits, TFormat>(x[i], y[i], control, ref context);
        return result;
    }

    public static bool HasUsual => TOp.HasUsual;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryUsual(Vector128<byte> a, Vector128<byte> b, out Vector128<byte> result)
    {
        bool isUsual = UsualCase.TryApply<TBits, TOp>(
            a.As<byte, TBits>(), b.As<byte, TBits>(), isScalar: false, out Vector128<TBits> usual);
        result = usual.As<TBits, byte>();
        return isUsual;
    }
}

/// <summary>HADDPS and its kin: neighbours of the target, then of the source, combined.</summary>
unsafe struct Horizontal<TBits, TFormat, TOp> : IFloatVector
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
    where TOp : INumbers
{
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control, ref FloatContext context)
    {
        int half = 8 / sizeof(TBits);
        Vector128<byte> result;
        TBits* x = (TBits*)&a, y = (TBits*)&b, r = (TBits*)&result;
        for (int i = 0; i < half; i++)
        {
            r[i] = TOp.Apply<TBits, TFormat>(x[2 * i], x[2 * i + 1], control, ref context);
            r[half + i] = TOp.Apply<TBits, TFormat>(y[2 * i], y[2 * i + 1], control, ref context);
        }
        return result;
    }
}

/// <summary>ADDSUBPS and ADDSUBPD: differences at the even places, sums at the odd ones.</summary>
unsafe struct AddSubtract<TBits, TFormat> : IFloatVector
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
{
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control, ref FloatContext context)
    {
        Vector128<byte> result;
        TBits* x = (TBits*)&a, y = (TBits*)&b, r = (TBits*)&result;
        for (int i = 0; i < 16 / sizeof(TBits); i += 2)
        {
            r[i] = TFormat.Subtract(x[i], y[i], ref context);
            r[i + 1] = TFormat.Add(x[i + 1], y[i + 1], ref context);
        }
        return result;
    }
}

/// <summary>DPPS and DPPD: products where the control's upper half says, their sum where its lower half says.</summary>
/// <remarks>Each of the three steps ends the instruction if it raises an unmasked exception.</remarks>
unsafe struct DotProduct<TBits, TFormat> : IFloatVector
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
{
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control, ref FloatContext context)
    {
        int count = 16 / sizeof(TBits);
        TBits* x = (TBits*)&a, y = (TBits*)&b;
        for (int i = 0; i < count; i++)
            x[i] = (control >> 4 + i & 1) != 0 ? TFormat.Multiply(x[i], y[i], ref context) : TBits.Zero;
        for (int rest = count; rest > 1; rest /= 2)
        {
            if (!context.EndStep()) return default;
            for (int i = 0; i < rest / 2; i++) x[i] = TFormat.Add(x[2 * i], x[2 * i + 1], ref context);
        }
        TBits sum = x[0];
        for (int i = 0; i < count; i++) x[i] = (control >> i & 1) != 0 ? sum : TBits.Zero;
        return a;
    }
}

/// <summary>RCPPS and RSQRTPS, which raise nothing.</summary>
interface IApproximation
{
    static abstract uint Of(uint number);
}

struct Reciprocal : IApproximation
{
    public static uint Of(uint number) => Binary32.Reciprocal(number);
}

struct ReciprocalSquareRoot : IApproximation
{
    public static uint Of(uint number) => Binary32.ReciprocalSquareRoot(number);
}

struct ApproximateScalar<TFunction> : IVector
    where TFunction : IApproximation
{
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        a.AsUInt32().WithElement(0, TFunction.Of(b.AsUInt32().ToScalar())).AsByte();
}

struct ApproximatePacked<TFunction> : IVector
    where TFunction : IApproximation
{
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<uint> result = b.AsUInt32();
        for (int i = 0; i < 4; i++) result = result.WithElement(i, TFunction.Of(result.GetElement(i)));
        return result.AsByte();
    }
}
