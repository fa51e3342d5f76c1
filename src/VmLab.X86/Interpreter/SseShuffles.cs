using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace VmLab.X86;

/// <summary>PUNPCKLBW: the elements of the two lower halves in turn, the target's first.</summary>
struct UnpackLowBytes : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        (Vector128.WidenLower(a) | Vector128.WidenLower(b) << 8).AsByte();
}

struct UnpackLowWords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        (Vector128.WidenLower(a.AsUInt16()) | Vector128.WidenLower(b.AsUInt16()) << 16).AsByte();
}

struct UnpackLowDoublewords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        (Vector128.WidenLower(a.AsUInt32()) | Vector128.WidenLower(b.AsUInt32()) << 32).AsByte();
}

struct UnpackLowQuadwords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.Create(a.GetLower(), b.GetLower());
}

struct UnpackHighBytes : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        (Vector128.WidenUpper(a) | Vector128.WidenUpper(b) << 8).AsByte();
}

struct UnpackHighWords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        (Vector128.WidenUpper(a.AsUInt16()) | Vector128.WidenUpper(b.AsUInt16()) << 16).AsByte();
}

struct UnpackHighDoublewords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        (Vector128.WidenUpper(a.AsUInt32()) | Vector128.WidenUpper(b.AsUInt32()) << 32).AsByte();
}

struct UnpackHighQuadwords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.Create(a.GetUpper(), b.GetUpper());
}

/// <summary>PACKSSWB: words to bytes, the target's first; what does not fit becomes the nearest that does.</summary>
struct PackWordsSigned : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.NarrowWithSaturation(a.AsInt16(), b.AsInt16()).AsByte();
}

/// <summary>PACKUSWB: signed words to unsigned bytes.</summary>
struct PackWordsUnsigned : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.Narrow(Clamped(a), Clamped(b));

    static Vector128<ushort> Clamped(Vector128<byte> words) =>
        Vector128.Clamp(words.AsInt16(), Vector128<short>.Zero, Vector128.Create((short)byte.MaxValue)).AsUInt16();
}

struct PackDoublewordsSigned : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.NarrowWithSaturation(a.AsInt32(), b.AsInt32()).AsByte();
}

struct PackDoublewordsUnsigned : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.Narrow(Clamped(a), Clamped(b)).AsByte();

    static Vector128<uint> Clamped(Vector128<byte> doublewords) =>
        Vector128.Clamp(doublewords.AsInt32(), Vector128<int>.Zero, Vector128.Create((int)ushort.MaxValue)).AsUInt32();
}

/// <summary>PSHUFB: each byte of the source says which of the target's to take, or, negative, a zero.</summary>
struct ShuffleBytes : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.Shuffle(a, b & Vector128.Create((byte)0x8F));
}

/// <summary>PSHUFD: two bits of the control for each doubleword.</summary>
struct ShuffleDoublewords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.Shuffle(b.AsUInt32(), Crumbs.Of(control)).AsByte();
}

/// <summary>PSHUFLW, and PSHUFW of MMX: the four words of the lower half.</summary>
struct ShuffleLowWords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        ulong words = b.AsUInt64().ToScalar();
        return b.AsUInt64().WithElement(0, Shuffled(words, control)).AsByte();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Shuffled(ulong words, byte control) =>
        (ushort)(words >> 16 * (control & 3))
        | (ulong)(ushort)(words >> 16 * (control >> 2 & 3)) << 16
        | (ulong)(ushort)(words >> 16 * (control >> 4 & 3)) << 32
        | words >> 16 * (control >> 6) << 48;
}

/// <summary>PSHUFHW: the four words of the upper half.</summary>
struct ShuffleHighWords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        ulong words = b.AsUInt64().GetElement(1);
        return b.AsUInt64().WithElement(1, ShuffleLowWords.Shuffled(words, control)).AsByte();
    }
}

/// <summary>SHUFPS: two doublewords of the target, then two of the source.</summary>
struct ShuffleSingles : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        Vector128<uint> places = Crumbs.Of(control);
        return Vector128.Create(
            Vector128.Shuffle(a.AsUInt32(), places).GetLower(),
            Vector128.Shuffle(b.AsUInt32(), places).GetUpper()).AsByte();
    }
}

/// <summary>SHUFPD: a quadword of the target, then one of the source.</summary>
struct ShuffleDoubles : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) => Vector128.Create(
        (control & 1) != 0 ? a.GetUpper() : a.GetLower(), (control & 2) != 0 ? b.GetUpper() : b.GetLower());
}

/// <summary>A control byte's four fields of two bits.</summary>
static class Crumbs
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Of(byte control) =>
        Vector128.Create(control & 3u, (uint)control >> 2 & 3, (uint)control >> 4 & 3, (uint)control >> 6);
}

/// <summary>PSLLDQ: toward higher addresses by the control's count of bytes.</summary>
struct ShiftBytesLeft : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.Shuffle(a, Vector128<byte>.Indices - Vector128.Create(Math.Min(control, (byte)16)));
}

/// <summary>PSRLDQ.</summary>
struct ShiftBytesRight : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.Shuffle(a, Vector128<byte>.Indices + Vector128.Create(Math.Min(control, (byte)16)));
}

/// <summary>PALIGNR: sixteen bytes out of the source with the target above it.</summary>
struct AlignRight : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        // A place beyond the sixteen, and one before the first, which wraps, gives a zero.
        Vector128<byte> places = Vector128<byte>.Indices + Vector128.Create(Math.Min(control, (byte)32));
        return Vector128.Shuffle(b, places) | Vector128.Shuffle(a, places - Vector128.Create((byte)16));
    }
}

/// <summary>PMOVZXBW, and with <see cref="Then{TFirst, TSecond}"/> its kin: the low elements, twice as wide.</summary>
struct WidenBytes : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.WidenLower(b).AsByte();
}

struct WidenWords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.WidenLower(b.AsUInt16()).AsByte();
}

struct WidenDoublewords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.WidenLower(b.AsUInt32()).AsByte();
}

struct WidenSignedBytes : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.WidenLower(b.AsSByte()).AsByte();
}

struct WidenSignedWords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.WidenLower(b.AsInt16()).AsByte();
}

struct WidenSignedDoublewords : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.WidenLower(b.AsInt32()).AsByte();
}

/// <summary>One operation on the source, then another on its result.</summary>
struct Then<TFirst, TSecond> : IVector
    where TFirst : IVector
    where TSecond : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        TSecond.Apply(a, TFirst.Apply(a, b, control), control);
}

/// <summary>MOVSLDUP: the even doublewords, each twice.</summary>
struct DuplicateEven : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.Shuffle(b.AsUInt32(), Vector128.Create(0u, 0, 2, 2)).AsByte();
}

/// <summary>MOVSHDUP: the odd doublewords, each twice.</summary>
struct DuplicateOdd : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.Shuffle(b.AsUInt32(), Vector128.Create(1u, 1, 3, 3)).AsByte();
}

/// <summary>MOVDDUP: the low quadword, twice.</summary>
struct DuplicateLow : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.Create(b.AsUInt64().ToScalar()).AsByte();
}

/// <summary>PBLENDW and BLENDPS, BLENDPD: a set bit of the control takes the source's element.</summary>
struct Blend<T> : IVector
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control) =>
        Vector128.ConditionalSelect(ElementMask.Of<T>(control), b, a);
}

/// <summary>A mask of whole elements from a bit for each.</summary>
static class ElementMask
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Of<T>(uint bits)
    {
        int size = Unsafe.SizeOf<T>();
        if (size == 8) return Test(Vector128.Create((ulong)bits), Vector128.Create(1UL, 2));
        if (size == 4) return Test(Vector128.Create(bits), Vector128.Create(1u, 2, 4, 8));
        return size == 2
            ? Test(Vector128.Create((ushort)bits), Vector128.Create((ushort)1, 2, 4, 8, 16, 32, 64, 128))
            : Test(
                Vector128.Create(Vector64.Create((byte)bits), Vector64.Create((byte)(bits >> 8))),
                Vector128.Create((byte)1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector128<byte> Test<T>(Vector128<T> bits, Vector128<T> places) =>
        Vector128.Equals(bits & places, places).AsByte();
}

/// <summary>INSERTPS: one doubleword of the source to one of the target, and zeros where the control says.</summary>
struct InsertSingle : IVector
{
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control)
    {
        uint element = b.AsUInt32().GetElement(control >> 6);
        Vector128<byte> inserted = a.AsUInt32().WithElement(control >> 4 & 3, element).AsByte();
        return Vector128.AndNot(inserted, ElementMask.Of<uint>(control));
    }
}
