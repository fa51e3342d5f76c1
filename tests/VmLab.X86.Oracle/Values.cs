using VmLab.Core;

namespace VmLab.X86.Oracle;

/// <summary>Draws numbers that instructions find interesting.</summary>
static class Values
{
    static readonly ulong[] s_integers =
    [
        0, 1, 2, 3, 7, 8, 0xF, 0x10, 0x1F, 0x20, 0x3F, 0x40, 0x7F, 0x80, 0x81, 0x99, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x1_0000,
        0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000, long.MaxValue, 1UL << 63, ulong.MaxValue, ulong.MaxValue - 1,
        0xFFFF_FFFF_FFFF_FF80, 0xFFFF_FFFF_FFFF_8000, 0xFFFF_FFFF_8000_0000,
    ];

    static readonly ulong[] s_doubles =
    [
        0, 1, 0x000F_FFFF_FFFF_FFFF, 0x0008_0000_0000_0000, 0x0010_0000_0000_0000, 0x36A0_0000_0000_0000, 0x380F_FFFF_FFFF_FFFF,
        0x3810_0000_0000_0000, 0x3CA0_0000_0000_0000, 0x3CB0_0000_0000_0000, 0x3FE0_0000_0000_0000, 0x3FEF_FFFF_FFFF_FFFF,
        0x3FF0_0000_0000_0000, 0x3FF0_0000_0000_0001, 0x3FF8_0000_0000_0000, 0x4000_0000_0000_0000, 0x4004_0000_0000_0000,
        0x40DF_FFC0_0000_0000, 0x40E0_0000_0000_0000, 0x41DF_FFFF_FFC0_0000, 0x41DF_FFFF_FFE0_0000, 0x41E0_0000_0000_0000,
        0x4330_0000_0000_0001, 0x4340_0000_0000_0000, 0x43DF_FFFF_FFFF_FFFF, 0x43E0_0000_0000_0000, 0x47EF_FFFF_E000_0000,
        0x47EF_FFFF_F000_0000, 0x5FF0_0000_0000_0000, 0x1FF0_0000_0000_0000, 0x7FEF_FFFF_FFFF_FFFF, 0x7FF0_0000_0000_0000,
        0x7FF0_0000_0000_0001, 0x7FF8_0000_0000_0000, 0x7FFF_FFFF_FFFF_FFFF,
    ];

    static readonly uint[] s_singles =
    [
        0, 1, 0x007F_FFFF, 0x0040_0000, 0x0080_0000, 0x3300_0000, 0x3380_0000, 0x3400_0000, 0x3F00_0000, 0x3F7F_FFFF, 0x3F80_0000,
        0x3F80_0001, 0x3FC0_0000, 0x4000_0000, 0x4020_0000, 0x46FF_FE00, 0x4700_0000, 0x4B00_0001, 0x4B80_0000, 0x4EFF_FFFF,
        0x4F00_0000, 0x5F00_0000, 0x1F80_0000, 0x7F7F_FFFF, 0x7F80_0000, 0x7F80_0001, 0x7FC0_0000, 0x7FFF_FFFF,
    ];

    static readonly ushort[] s_exponents = [0, 1, 2, 0x3FBE, 0x3FC0, 0x3FFD, 0x3FFE, 0x3FFF, 0x4000, 0x400D, 0x400E, 0x401E, 0x403D,
        0x403E, 0x403F, 0x7FFE, 0x7FFF];

    /// <summary>Half the time something at an edge, else bits of any length.</summary>
    public static ulong Integer(ref Rng rng) => rng.NextBelow(2) == 0
        ? s_integers[rng.NextBelow((ulong)s_integers.Length)]
        : rng.Next() >> (int)rng.NextBelow(64);

    /// <summary>Eight bytes of a vector or of memory: integers, floating-point numbers, bytes at their edges.</summary>
    public static ulong Word(ref Rng rng) => rng.NextBelow(8) switch
    {
        0 => rng.Next(),
        1 or 2 => Double(ref rng),
        3 or 4 => Single(ref rng) | (ulong)Single(ref rng) << 32,
        5 => EdgeBytes(ref rng),
        6 => rng.Next() & 0x0303_0303_0303_0303,
        _ => Integer(ref rng),
    };

    public static void Fill(Span<ulong> words, ref Rng rng)
    {
        foreach (ref ulong word in words) word = Word(ref rng);
        // Equal neighbours are what compares and cancellations live on.
        if (words.Length > 1 && rng.NextBelow(3) == 0) words[^1] = words[0];
    }

    public static ulong Double(ref Rng rng) => rng.NextBelow(4) switch
    {
        0 => s_doubles[rng.NextBelow((ulong)s_doubles.Length)] | rng.Next() << 63,
        1 => s_doubles[rng.NextBelow((ulong)s_doubles.Length)] + rng.NextBelow(8) - 4,
        2 => 1023 - 70 + rng.NextBelow(140) << 52 | rng.Next() >> 12 | rng.Next() << 63,
        _ => 1023 - 4 + rng.NextBelow(40) << 52 | rng.Next() >> 12 & ~0UL << (int)rng.NextBelow(52) | rng.Next() << 63,
    };

    public static uint Single(ref Rng rng)
    {
        uint noise = (uint)rng.Next();
        return rng.NextBelow(4) switch
        {
            0 => s_singles[rng.NextBelow((ulong)s_singles.Length)] | noise << 31,
            1 => s_singles[rng.NextBelow((ulong)s_singles.Length)] + (noise & 7) - 4,
            2 => 127 - 40 + (uint)rng.NextBelow(80) << 23 | noise >> 9 | noise << 31,
            _ => 127 - 4 + (uint)rng.NextBelow(30) << 23 | noise >> 9 & ~0U << (int)rng.NextBelow(23) | noise << 31,
        };
    }

    /// <summary>A number of the x87: mostly normal ones, but any bits at times.</summary>
    public static (ulong Significand, ushort SignExponent) Extended(ref Rng rng)
    {
        var sign = (ushort)(rng.Next() << 15);
        ushort edge = s_exponents[rng.NextBelow((ulong)s_exponents.Length)];
        ulong normal = rng.Next() | 1UL << 63;
        return rng.NextBelow(8) switch
        {
            0 => (rng.Next(), (ushort)rng.Next()),
            1 => (Integer(ref rng), (ushort)(edge | sign)),
            2 => (0, (ushort)(edge & 0x7FFF * (int)rng.NextBelow(2) | sign)),
            3 => (normal & ~0UL << (int)rng.NextBelow(64), (ushort)(edge | sign)),
            4 => (normal, (ushort)(0x3FFF - 70 + (int)rng.NextBelow(140) | sign)),
            _ => (normal & ~0UL << (int)rng.NextBelow(64), (ushort)(0x3FFF - 4 + (int)rng.NextBelow(68) | sign)),
        };
    }

    static ulong EdgeBytes(ref Rng rng)
    {
        ReadOnlySpan<byte> edges = [0, 1, 0x7F, 0x80, 0xFF, 0xFE, 0x40];
        ulong word = 0;
        for (int i = 0; i < 8; i++) word = word << 8 | edges[(int)rng.NextBelow((ulong)edges.Length)];
        return word;
    }
}
