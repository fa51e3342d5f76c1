using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace VmLab.X86;

/// <summary>PMULHW: the upper halves of the products of words.</summary>
struct MultiplyHigh : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<short> x = a.AsInt16(), y = b.AsInt16();
        return Vector128.Narrow(
            Vector128.WidenLower(x) * Vector128.WidenLower(y) >> 16,
            Vector128.WidenUpper(x) * Vector128.WidenUpper(y) >> 16).AsByte();
    }
}

/// <summary>PMULHUW.</summary>
struct MultiplyHighUnsigned : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<ushort> x = a.AsUInt16(), y = b.AsUInt16();
        return Vector128.Narrow(
            Vector128.WidenLower(x) * Vector128.WidenLower(y) >>> 16,
            Vector128.WidenUpper(x) * Vector128.WidenUpper(y) >>> 16).AsByte();
    }
}

/// <summary>PMULHRSW: products of fractions of 15 bits, rounded.</summary>
struct MultiplyHighRounded : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<short> x = a.AsInt16(), y = b.AsInt16();
        return Vector128.Narrow(
            Rounded(Vector128.WidenLower(x) * Vector128.WidenLower(y)),
            Rounded(Vector128.WidenUpper(x) * Vector128.WidenUpper(y))).AsByte();
    }

    static Vector128<int> Rounded(Vector128<int> products) => (products >> 14) + Vector128<int>.One >> 1;
}

/// <summary>PMADDWD: the products of words, added in pairs.</summary>
struct MultiplyAdd : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<int> x = a.AsInt32(), y = b.AsInt32();
        return ((x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16)).AsByte();
    }
}

/// <summary>PMADDUBSW: unsigned bytes of the target by signed ones of the source, added in pairs, saturated.</summary>
struct MultiplyAddBytes : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<short> x = a.AsInt16(), y = b.AsInt16();
        return Vector128.AddSaturate((x << 8 >>> 8) * (y << 8 >> 8), (x >>> 8) * (y >> 8)).AsByte();
    }
}

/// <summary>PMULUDQ: the products of the even doublewords.</summary>
struct MultiplyEvenUnsigned : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<uint> x = a.AsUInt32(), y = b.AsUInt32();
        return Vector128.Create((ulong)x.ToScalar() * y.ToScalar(), (ulong)x.GetElement(2) * y.GetElement(2)).AsByte();
    }
}

/// <summary>PMULDQ.</summary>
struct MultiplyEven : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<int> x = a.AsInt32(), y = b.AsInt32();
        return Vector128.Create((long)x.ToScalar() * y.ToScalar(), (long)x.GetElement(2) * y.GetElement(2)).AsByte();
    }
}

/// <summary>PSADBW: the distances of eight bytes, added up.</summary>
struct SumOfDistances : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<ushort> pairs = (Vector128.Max(a, b) - Vector128.Min(a, b)).AsUInt16();
        pairs = (pairs & Vector128.Create((ushort)0xFF)) + (pairs >>> 8);
        Vector128<uint> fours = pairs.AsUInt32();
        fours = (fours & Vector128.Create(0xFFFFu)) + (fours >>> 16);
        return ((fours.AsUInt64() & Vector128.Create(0xFFFF_FFFFUL)) + (fours.AsUInt64() >>> 32)).AsByte();
    }
}

/// <summary>PHADDW and its kin: neighbours of the target, then of the source, combined.</summary>
struct HorizontalWords<TLane> : IVector
    where TLane : ILane
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<int> x = a.AsInt32(), y = b.AsInt32();
        return TLane.Apply(Vector128.Narrow(x, y), Vector128.Narrow(x >> 16, y >> 16)).AsByte();
    }
}

/// <summary>PHADDD and PHSUBD.</summary>
struct HorizontalDoublewords<TLane> : IVector
    where TLane : ILane
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<long> x = a.AsInt64(), y = b.AsInt64();
        return TLane.Apply(Vector128.Narrow(x, y), Vector128.Narrow(x >> 32, y >> 32)).AsByte();
    }
}

/// <summary>PHMINPOSUW: the least word, and the place of the first that is.</summary>
struct LeastWord : IVector
{
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<ushort> words = b.AsUInt16();
        int place = 0;
        for (int i = 1; i < 8; i++)
            if (words.GetElement(i) < words.GetElement(place)) place = i;
        return Vector128.CreateScalar(words.GetElement(place) | (uint)place << 16).AsByte();
    }
}

/// <summary>MPSADBW: the distance of four bytes of the source from each of eight places of the target.</summary>
struct SlidingSumOfDistances : IVector
{
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        int inSource = 4 * (control & 3), inTarget = control & 4;
        Vector128<ushort> sums = default;
        for (int place = 0; place < 8; place++)
        {
            int sum = 0;
            for (int i = 0; i < 4; i++)
                sum += Math.Abs(a.GetElement(inTarget + place + i) - b.GetElement(inSource + i));
            sums = sums.WithElement(place, (ushort)sum);
        }
        return sums.AsByte();
    }
}
