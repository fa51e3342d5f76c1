using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using VmLab.X86.Floating;

namespace VmLab.X86;

/// <summary>A number of one kind made of a number of another.</summary>
interface IConversion<TFrom, TTo>
{
    static abstract TTo Apply(TFrom value, ref FloatContext context);
}

struct ToInt32<TBits, TFormat> : IConversion<TBits, int>
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
{
    public static int Apply(TBits value, ref FloatContext context) => TFormat.ToInt32(value, ref context);
}

struct ToInt32Truncated<TBits, TFormat> : IConversion<TBits, int>
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
{
    public static int Apply(TBits value, ref FloatContext context) => TFormat.ToInt32Truncated(value, ref context);
}

struct ToInt64<TBits, TFormat> : IConversion<TBits, long>
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
{
    public static long Apply(TBits value, ref FloatContext context) => TFormat.ToInt64(value, ref context);
}

struct ToInt64Truncated<TBits, TFormat> : IConversion<TBits, long>
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
{
    public static long Apply(TBits value, ref FloatContext context) => TFormat.ToInt64Truncated(value, ref context);
}

struct FromInt32<TBits, TFormat> : IConversion<int, TBits>
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
{
    public static TBits Apply(int value, ref FloatContext context) => TFormat.FromInt32(value, ref context);
}

struct FromInt64<TBits, TFormat> : IConversion<long, TBits>
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
{
    public static TBits Apply(long value, ref FloatContext context) => TFormat.FromInt64(value, ref context);
}

struct SingleToDouble : IConversion<uint, ulong>
{
    public static ulong Apply(uint value, ref FloatContext context) => Binary64.FromBinary32(value, ref context);
}

struct DoubleToSingle : IConversion<ulong, uint>
{
    public static uint Apply(ulong value, ref FloatContext context) => Binary64.ToBinary32(value, ref context);
}

/// <summary>As many conversions as the wider kind has room for, with zeros above the results.</summary>
unsafe struct ConvertPacked<TFrom, TTo, TConversion> : IFloatVector
    where TFrom : unmanaged
    where TTo : unmanaged
    where TConversion : IConversion<TFrom, TTo>
{
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control, ref FloatContext context)
    {
        Vector128<byte> result = default;
        TFrom* from = (TFrom*)&b;
        TTo* to = (TTo*)&result;
        int count = 16 / Math.Max(sizeof(TFrom), sizeof(TTo));
        for (int i = 0; i < count; i++) to[i] = TConversion.Apply(from[i], ref context);
        return result;
    }
}

/// <summary>The lowest number converted; what stands above it in the target stays.</summary>
struct ConvertScalar<TFrom, TTo, TConversion> : IFloatVector
    where TConversion : IConversion<TFrom, TTo>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control, ref FloatContext context)
    {
        TTo result = TConversion.Apply(b.As<byte, TFrom>().ToScalar(), ref context);
        return a.As<byte, TTo>().WithElement(0, result).As<TTo, byte>();
    }
}

/// <summary>CVTPI2PS, and CVTPS2PI: two numbers of 32 bits; the upper half of the target stays.</summary>
struct ConvertPair<TFrom, TTo, TConversion> : IFloatVector
    where TConversion : IConversion<TFrom, TTo>
{
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control, ref FloatContext context)
    {
        Vector128<TFrom> from = b.As<byte, TFrom>();
        TTo first = TConversion.Apply(from.ToScalar(), ref context);
        TTo second = TConversion.Apply(from.GetElement(1), ref context);
        return a.As<byte, TTo>().WithElement(0, first).WithElement(1, second).As<TTo, byte>();
    }
}

/// <summary>How two numbers stand to each other.</summary>
interface IRelation<TBits>
{
    static abstract FloatRelation Of(TBits a, TBits b, ref FloatContext context);
}

struct Ordered<TBits, TFormat> : IRelation<TBits>
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FloatRelation Of(TBits a, TBits b, ref FloatContext context) =>
        TFormat.CompareOrdered(a, b, ref context);
}

struct Unordered<TBits, TFormat> : IRelation<TBits>
    where TBits : unmanaged, IBinaryInteger<TBits>
    where TFormat : IScalarFormat<TBits>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FloatRelation Of(TBits a, TBits b, ref FloatContext context) =>
        TFormat.CompareUnordered(a, b, ref context);
}
