using VmLab.Core;

namespace VmLab.X86.Tests.Floating;

/// <summary>Operands worth trying, in each format: edges, random bits, and pairs that are close or cancel.</summary>
public static class Numbers
{
    public static readonly ulong[] Edges64 = WithNegatives(1UL << 63,
        0, 1, 2, 3, 0x000FFFFFFFFFFFFF, 0x0008000000000000, 0x0010000000000000, 0x0010000000000001, 0x001FFFFFFFFFFFFF,
        0x3CA0000000000000, 0x3CB0000000000000, 0x3E60000000000000, 0x3FE0000000000000, 0x3FEFFFFFFFFFFFFF,
        0x3FF0000000000000, 0x3FF0000000000001, 0x3FF8000000000000, 0x4000000000000000, 0x4004000000000000,
        0x4008000000000000, 0x41DFFFFFFFC00000, 0x41DFFFFFFFE00000, 0x41E0000000000000, 0x41E0000000100000,
        0x4330000000000000, 0x4330000000000001, 0x4340000000000000, 0x43DFFFFFFFFFFFFF, 0x43E0000000000000,
        0x43F0000000000000, 0x36A0000000000000, 0x380FFFFFFFFFFFFF, 0x3810000000000000, 0x380FFFFFF0000000,
        0x47EFFFFFE0000000, 0x47EFFFFFF0000000, 0x47EFFFFFEFFFFFFF, 0x5FF0000000000000, 0x1FF0000000000000,
        0x7FE0000000000000, 0x7FEFFFFFFFFFFFFF, 0x7FEFFFFFFFFFFFFE, 0x7FF0000000000000, 0x7FF0000000000001,
        0x7FF0000020000000, 0x7FF7FFFFFFFFFFFF, 0x7FF8000000000000, 0x7FF8000000000001, 0x7FFFFFFFFFFFFFFF);

    public static readonly ulong[] Edges32 = WithNegatives(1UL << 31,
        0, 1, 2, 3, 0x007FFFFF, 0x00400000, 0x00800000, 0x00800001, 0x00FFFFFF, 0x33000000, 0x33800000, 0x34000000,
        0x3F000000, 0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x3FC00000, 0x40000000, 0x40200000, 0x40400000,
        0x4B000000, 0x4B000001, 0x4B800000, 0x4EFFFFFF, 0x4F000000, 0x5EFFFFFF, 0x5F000000, 0x5F800000,
        0x1F800000, 0x20000000, 0x7F000000, 0x7F7FFFFF, 0x7F7FFFFE, 0x7F800000, 0x7F800001, 0x7FBFFFFF, 0x7FC00000,
        0x7FC00001, 0x7FFFFFFF);

    /// <summary>Pairs of 64-bit numbers: every pair of edges, then random ones.</summary>
    public static IEnumerable<(ulong A, ulong B)> Pairs64(int count, ulong seed) => Pairs(Edges64, 64, count, seed);

    /// <summary>Pairs of 32-bit numbers: every pair of edges, then random ones.</summary>
    public static IEnumerable<(ulong A, ulong B)> Pairs32(int count, ulong seed) => Pairs(Edges32, 32, count, seed);

    public static ulong Any64(ref Rng rng) => One(Edges64, 64, ref rng);
    public static ulong Any32(ref Rng rng) => One(Edges32, 32, ref rng);

    static IEnumerable<(ulong A, ulong B)> Pairs(ulong[] edges, int width, int count, ulong seed)
    {
        foreach (ulong a in edges)
            foreach (ulong b in edges)
                yield return (a, b);

        var rng = Rng.FromSeed(seed);
        for (int i = 0; i < count; i++)
        {
            ulong a = One(edges, width, ref rng);
            yield return (a, Second(a, edges, width, ref rng));
        }
    }

    static ulong One(ulong[] edges, int width, ref Rng rng)
    {
        ulong mask = ulong.MaxValue >> 64 - width;
        int fraction = width == 64 ? 52 : 23;
        ulong one = width == 64 ? 1023UL : 127UL;
        return rng.NextBelow(8) switch
        {
            0 => edges[rng.NextBelow((ulong)edges.Length)],
            1 => edges[rng.NextBelow((ulong)edges.Length)] + rng.NextBelow(8) - 4 & mask,
            2 => rng.Next() & rng.Next() & rng.Next() & mask,   // few bits set: exact results, ties
            3 => Near(one, 70, fraction, ref rng) & mask,   // about one: integers, cancellation
            4 => Near(one, 4, fraction, ref rng) & mask & ~0UL << (int)rng.NextBelow((ulong)fraction),
            _ => rng.Next() & mask,
        };
    }

    static ulong Second(ulong a, ulong[] edges, int width, ref Rng rng)
    {
        ulong mask = ulong.MaxValue >> 64 - width, sign = 1UL << width - 1;
        int fraction = width == 64 ? 52 : 23;
        return rng.NextBelow(8) switch
        {
            0 => a + rng.NextBelow(4) & mask,
            1 => (a ^ sign) - rng.NextBelow(4) & mask,
            2 => a + (rng.NextBelow(128) - 64 << fraction) & mask,   // an exponent near by, the same fraction
            3 => (rng.Next() & (1UL << fraction) - 1 | a & ~((1UL << fraction) - 1)) & mask,   // the same exponent
            _ => One(edges, width, ref rng),
        };
    }

    static ulong Near(ulong exponent, ulong spread, int fraction, ref Rng rng) =>
        exponent + rng.NextBelow(2 * spread) - spread << fraction
        | rng.Next() & (1UL << fraction) - 1
        | (rng.Next() & 1) << (fraction == 52 ? 63 : 31);

    static ulong[] WithNegatives(ulong sign, params ulong[] numbers) =>
        [.. numbers, .. numbers.Select(number => number | sign)];
}
