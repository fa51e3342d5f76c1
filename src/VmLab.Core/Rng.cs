using System.IO.Hashing;
using System.Numerics;
using System.Text;

namespace VmLab.Core;

/// <summary>One stream of the seeded randomness of a lab: a value, so that to copy it is to snapshot it.</summary>
/// <remarks>
/// Streams form a tree: <see cref="Child(string)"/> derives an independent stream by name, so that what one part
/// draws never
/// shifts what another sees. Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators"
/// (xoshiro256**);
/// states are spread by SplitMix64.
/// </remarks>
[Schema("rng", version: 1)]
public record struct Rng(ulong A, ulong B, ulong C, ulong D)
{
    public static Rng FromSeed(ulong seed)
    {
        ulong state = seed;
        return new(Split(ref state), Split(ref state), Split(ref state), Split(ref state));
    }

    /// <summary>
    /// An independent stream, fixed by this stream's present state and a name; this stream does not move.
    /// </summary>
    public readonly Rng Child(string name) =>
        FromSeed(A ^ BitOperations.RotateLeft(C, 17) ^ XxHash3.HashToUInt64(Encoding.UTF8.GetBytes(name)));

    public ulong Next()
    {
        ulong result = BitOperations.RotateLeft(B * 5, 7) * 9;
        ulong shifted = B << 17;
        C ^= A;
        D ^= B;
        B ^= C;
        A ^= D;
        C ^= shifted;
        D = BitOperations.RotateLeft(D, 45);
        return result;
    }

    /// <summary>A number from 0 up to, and never, <paramref name="bound"/>; 0 when the bound is 0.</summary>
    public ulong NextBelow(ulong bound) => (ulong)((UInt128)Next() * bound >> 64);

    /// <summary>A number from 0 up to, and never, 1.</summary>
    public double NextDouble() => (Next() >> 11) * (1.0 / (1UL << 53));

    static ulong Split(ref ulong state)
    {
        ulong z = state += 0x9E3779B97F4A7C15;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
        z = (z ^ z >> 27) * 0x94D049BB133111EB;
        return z ^ z >> 31;
    }
}
