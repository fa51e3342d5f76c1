using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace VmLab.X86;

/// <summary>An operation on each pair of elements, whatever their type.</summary>
interface ILane
{
    static abstract Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b);
}

/// <summary>An operation on each pair of elements of one type.</summary>
struct Lanes<T, TLane> : IVector
    where TLane : ILane
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        TLane.Apply(a.As<byte, T>(), b.As<byte, T>()).As<T, byte>();
}

/// <summary>The operations that <see cref="Lanes{T, TLane}"/> spreads over elements.</summary>
static class Lane
{
    public struct Source : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => b;
    }

    public struct And : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => a & b;
    }

    public struct AndNot : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => ~a & b;
    }

    public struct Or : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => a | b;
    }

    public struct Xor : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => a ^ b;
    }

    public struct Add : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => a + b;
    }

    public struct Subtract : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => a - b;
    }

    public struct AddSaturated : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => Vector128.AddSaturate(a, b);
    }

    public struct SubtractSaturated : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => Vector128.SubtractSaturate(a, b);
    }

    public struct Multiply : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => a * b;
    }

    public struct Min : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => Vector128.Min(a, b);
    }

    public struct Max : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => Vector128.Max(a, b);
    }

    /// <summary>The mean of unsigned elements, rounded up, without the bit that the sum would need.</summary>
    public struct Average : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => (a | b) - ((a ^ b) >>> 1);
    }

    public struct IsEqual : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => Vector128.Equals(a, b);
    }

    public struct IsGreater : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b) => Vector128.GreaterThan(a, b);
    }

    /// <summary>The magnitude; the most negative number stays as it is.</summary>
    public struct Magnitude : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b)
        {
            Vector128<T> isNegative = Vector128.LessThan(b, Vector128<T>.Zero);
            return (b ^ isNegative) - isNegative;
        }
    }

    /// <summary>PSIGNB: negated where the other is negative, zero where it is zero.</summary>
    public struct Sign : ILane
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> a, Vector128<T> b)
        {
            Vector128<T> isNegative = Vector128.LessThan(b, Vector128<T>.Zero);
            return Vector128.AndNot((a ^ isNegative) - isNegative, Vector128.Equals(b, Vector128<T>.Zero));
        }
    }
}

/// <summary>A shift of each element by one count.</summary>
interface ILaneShift
{
    /// <summary>A greater count acts as this one; one bit more than an element's shifts everything out.</summary>
    static abstract int Limit(int bits);

    static abstract Vector128<T> Apply<T>(Vector128<T> value, int count);
}

/// <summary>Shifts elements by the count in the source's low quadword.</summary>
struct Shifted<T, TShift> : IVector
    where TShift : ILaneShift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        int bits = 8 * Unsafe.SizeOf<T>();
        ulong count = Math.Min(b.AsUInt64().ToScalar(), (ulong)TShift.Limit(bits));
        return count < (ulong)bits ? TShift.Apply(a.As<byte, T>(), (int)count).As<T, byte>() : Vector128<byte>.Zero;
    }
}

/// <summary>The directions of <see cref="Shifted{T, TShift}"/>.</summary>
static class LaneShift
{
    public struct Left : ILaneShift
    {
        public static int Limit(int bits) => bits;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> value, int count) => value << count;
    }

    public struct Right : ILaneShift
    {
        public static int Limit(int bits) => bits;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> value, int count) => value >>> count;
    }

    public struct Arithmetic : ILaneShift
    {
        public static int Limit(int bits) => bits - 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Apply<T>(Vector128<T> value, int count) => value >> count;
    }
}
