using System.Buffers.Binary;
using VmLab.Core;
using VmLab.X86.Floating;
using VmLab.X86.Tests.Native;

namespace VmLab.X86.Tests.Floating;

/// <summary>Random states of the x87, as FNSAVE lays them out, and how to look at them.</summary>
static class X87Image
{
    const int Registers = 28, RegisterSize = 10;

    static readonly ulong[] Significands =
    [
        0, 1, 2, 0x3FFFFFFFFFFFFFFF, 0x4000000000000000, 0x4000000000000001, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000,
        0x8000000000000001, 0x8000000000000400, 0x8000000000000800, 0x8000000000000C00, 0x8000008000000000,
        0x8000010000000000, 0x8000018000000000, 0xA000000000000000, 0xBFFFFFFFFFFFFFFF, 0xC000000000000000,
        0xC000000000000001, 0xC90FDAA22168C235, 0xFFFFFF8000000000, 0xFFFFFFFFFFFFF800, 0xFFFFFFFFFFFFFC00,
        0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF,
    ];

    static readonly ushort[] Exponents =
    [
        0, 1, 2, 0x3F, 0x40, 0x1FFF, 0x2000, 0x3BCD, 0x3C00, 0x3C01, 0x3F6A, 0x3F80, 0x3F81, 0x3FBE, 0x3FFD, 0x3FFE,
        0x3FFF, 0x4000, 0x4001, 0x400D, 0x400E, 0x401D, 0x401E, 0x403A, 0x403B, 0x403D, 0x403E, 0x403F, 0x407E, 0x407F,
        0x43FE, 0x43FF, 0x5FFF, 0x6000, 0x7FFD, 0x7FFE, 0x7FFF,
    ];

    /// <summary>
    /// Anything an FRSTOR can bring in but a pending exception: any top, mostly full stack, any control word.
    /// </summary>
    /// <param name="isMasked">All exceptions are masked.</param>
    public static byte[] Random(ref Rng rng, bool isMasked)
    {
        byte[] image = new byte[X87Oracle.ImageSize];
        ulong bits = rng.Next();
        uint masks = isMasked ? 0x3F : (uint)bits & 0x3F;
        uint control = masks | 0x40 | (uint)(bits >> 6 & 0xF) << 8;
        uint status = (uint)(bits >> 16) & (masks | 0x40) | (uint)(bits >> 24 & 0x7F) << 8;
        // Sticky flags are rare in one half of the states and frequent in the other.
        if ((bits >> 40 & 1) != 0) status &= 0x7F00;
        BinaryPrimitives.WriteUInt32LittleEndian(image, 0xFFFF0000 | control);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(4), 0xFFFF0000 | status);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(8), 0xFFFF0000 | Tags(status, ref rng));
        for (int i = 0; i < 8; i++) Write(image, i, Number(ref rng));
        if (rng.NextBelow(2) == 0) Write(image, 1, Near(Read(image, 0), ref rng));
        return image;
    }

    /// <summary>Any 80 bits: edges, numbers about one, few bits set, or sheer chance.</summary>
    public static Float80 Number(ref Rng rng)
    {
        ulong sign = rng.Next() & 0x8000, significand = rng.Next() | 1UL << 63;
        return rng.NextBelow(8) switch
        {
            0 or 1 => new(Significands[rng.NextBelow((ulong)Significands.Length)],
                (ushort)(Exponents[rng.NextBelow((ulong)Exponents.Length)] | sign)),
            2 => new(significand, (ushort)(Exponents[rng.NextBelow((ulong)Exponents.Length)] | sign)),
            3 => new(significand & ~0UL << (int)rng.NextBelow(64), (ushort)(0x3FFF - 8 + rng.NextBelow(80) | sign)),
            4 or 5 => new(significand, (ushort)(0x3FFF - 70 + rng.NextBelow(140) | sign)),
            6 => new(Significands[rng.NextBelow((ulong)Significands.Length)] | 1UL << 63,
                (ushort)(0x3FFF - 4 + rng.NextBelow(70) | sign)),
            _ => new(rng.Next(), (ushort)rng.Next()),
        };
    }

    public static Float80 Read(ReadOnlySpan<byte> image, int i)
    {
        var bytes = image.Slice(Registers + RegisterSize * i, RegisterSize);
        return new(BinaryPrimitives.ReadUInt64LittleEndian(bytes), BinaryPrimitives.ReadUInt16LittleEndian(bytes[8..]));
    }

    public static void Write(Span<byte> image, int i, Float80 value)
    {
        var bytes = image.Slice(Registers + RegisterSize * i, RegisterSize);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value.Significand);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[8..], value.SignExponent);
    }

    /// <summary>Forgets the pointers and the opcode, which hosts keep each in its own way.</summary>
    public static void ClearPointers(Span<byte> image) => image[12..28].Clear();

    /// <summary>Clears some bits of the status word.</summary>
    public static void ClearStatus(Span<byte> image, ushort bits)
    {
        image[4] &= (byte)~bits;
        image[5] &= (byte)(~bits >> 8);
    }

    public static string Show(ReadOnlySpan<byte> image)
    {
        var text = new List<string>
        {
            $"CW {BinaryPrimitives.ReadUInt16LittleEndian(image):X4}",
            $"SW {BinaryPrimitives.ReadUInt16LittleEndian(image[4..]):X4}",
            $"TW {BinaryPrimitives.ReadUInt16LittleEndian(image[8..]):X4}",
        };
        for (int i = 0; i < 8; i++) text.Add($"{Read(image, i).SignExponent:X4}.{Read(image, i).Significand:X16}");
        return string.Join(' ', text);
    }

    // The upper registers of the stack are mostly in use and its last mostly free, so most instructions find what they
    // need.
    static uint Tags(uint status, ref Rng rng)
    {
        uint tags = 0;
        for (int i = 0; i < 8; i++)
        {
            ulong sixteenthsFree = i < 3 ? 1UL : i == 7 ? 14UL : 8UL;
            uint tag = rng.NextBelow(16) < sixteenthsFree ? 3u : 0;
            tags |= tag << 2 * (int)((status >> 11) + (uint)i & 7);
        }
        return tags;
    }

    static Float80 Near(Float80 other, ref Rng rng) => rng.NextBelow(4) switch
    {
        0 => other with { Significand = other.Significand + rng.NextBelow(8) - 4 },
        1 => other.Negated with { Significand = other.Significand + rng.NextBelow(8) - 4 },
        2 => other with { SignExponent = (ushort)(other.SignExponent + rng.NextBelow(140) - 70) },
        _ => Number(ref rng) with { SignExponent = other.SignExponent },
    };
}
