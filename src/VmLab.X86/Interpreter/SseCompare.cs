using System.Numerics;
using System.Runtime.Intrinsics;

namespace VmLab.X86;

/// <summary>Handlers of SSE4 that set flags, or choose by XMM0.</summary>
static unsafe class SseCompare
{
    /// <summary>PTEST: ZF tells of target and source, CF of source and not target; the others are cleared.</summary>
    public static Op* Test<TSource>(CpuState* s, Op* op)
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, 16);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        Vector128<byte> a = Vector128.Load((byte*)s->Xmm + op->A), b = Vector128.Load(source);
        bool isZero = (a & b) == Vector128<byte>.Zero, isCovered = Vector128.AndNot(b, a) == Vector128<byte>.Zero;
        Flags.SetArithmetic(s, (isZero ? Rflags.Zero : 0) | (isCovered ? Rflags.Carry : 0));
        return op + 1;
    }

    /// <summary>PBLENDVB, BLENDVPS, BLENDVPD: the source's element where XMM0's is negative.</summary>
    public static Op* Blend<T, TSource>(CpuState* s, Op* op)
        where T : unmanaged
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, 16);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        byte* target = (byte*)s->Xmm + op->A;
        Vector128<T> mask = Vector128.LessThan(Vector128.Load((T*)s->Xmm), Vector128<T>.Zero);
        Vector128.ConditionalSelect(mask, Vector128.Load((T*)source), Vector128.Load((T*)target)).Store((T*)target);
        return op + 1;
    }

    /// <summary>PCMPESTRI and PCMPISTRI: the place goes to ECX.</summary>
    public static Op* FindInStrings<TLength, TSource>(CpuState* s, Op* op)
        where TLength : IStringLength
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, 16);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        var strings = new StringComparison<TLength>(s, op, source);
        s->Gpr[Gpr.Rcx] = (uint)strings.Place;
        Flags.SetArithmetic(s, strings.Flags);
        return op + 1;
    }

    /// <summary>PCMPESTRM and PCMPISTRM: the mask goes to XMM0.</summary>
    public static Op* MaskStrings<TLength, TSource>(CpuState* s, Op* op)
        where TLength : IStringLength
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, 16);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        var strings = new StringComparison<TLength>(s, op, source);
        strings.Mask.Store((byte*)s->Xmm);
        Flags.SetArithmetic(s, strings.Flags);
        return op + 1;
    }
}

/// <summary>Where the strings of PCMPxSTRx end.</summary>
unsafe interface IStringLength
{
    /// <returns>Elements of the string, at most all of them.</returns>
    static abstract int Of(ReadOnlySpan<ushort> elements, CpuState* s, Op* op, int register);
}

/// <summary>Lengths in RAX and RDX, or EAX and EDX, of which the magnitude counts.</summary>
unsafe struct ExplicitLength : IStringLength
{
    public static int Of(ReadOnlySpan<ushort> elements, CpuState* s, Op* op, int register)
    {
        ulong value = s->Gpr[register];
        long length = op->Extra != 0 ? (long)value : (int)value;
        return length > -elements.Length && length < elements.Length ? (int)Math.Abs(length) : elements.Length;
    }
}

/// <summary>A string ends before its first zero.</summary>
unsafe struct ImplicitLength : IStringLength
{
    public static int Of(ReadOnlySpan<ushort> elements, CpuState* s, Op* op, int register)
    {
        int zero = elements.IndexOf((ushort)0);
        return zero < 0 ? elements.Length : zero;
    }
}

/// <summary>What PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM compute.</summary>
/// <remarks>
/// The control byte: bit 0 words, bit 1 signed, bits 3:2 the aggregation, bits 5:4 the polarity, bit 6 the last place
/// or a mask of whole elements. Source: Intel SDM vol. 2B §4.1.
/// </remarks>
readonly unsafe ref struct StringComparison<TLength>
    where TLength : IStringLength
{
    enum Aggregation { EqualAny, Ranges, EqualEach, EqualOrdered }

    readonly byte _control;
    readonly int _count;
    readonly uint _result;

    /// <param name="source">The second operand; the first is an XMM register.</param>
    public StringComparison(CpuState* s, Op* op, byte* source)
    {
        _control = (byte)op->Immediate;
        _count = IsWords ? 8 : 16;
        Span<ushort> first = stackalloc ushort[_count], second = stackalloc ushort[_count];
        Spread((byte*)s->Xmm + op->A, first);
        Spread(source, second);
        int firstLength = TLength.Of(first, s, op, Gpr.Rax), secondLength = TLength.Of(second, s, op, Gpr.Rdx);
        uint matches = Aggregate(first, firstLength, second, secondLength);
        uint all = (1U << _count) - 1, valid = (1U << secondLength) - 1;
        _result = (_control >> 4 & 3) switch { 1 => ~matches & all, 3 => matches ^ valid, _ => matches };
        Flags = (_result != 0 ? Rflags.Carry : 0) | ((_result & 1) != 0 ? Rflags.Overflow : 0)
            | (secondLength < _count ? Rflags.Zero : 0) | (firstLength < _count ? Rflags.Sign : 0);
    }

    /// <summary>The arithmetic flags; AF and PF are clear.</summary>
    public ulong Flags { get; }

    /// <summary>Number of the first or last element found; the number of elements when there is none.</summary>
    public int Place =>
        _result == 0 ? _count : IsExtended ? BitOperations.Log2(_result) : BitOperations.TrailingZeroCount(_result);

    public Vector128<byte> Mask => !IsExtended
        ? Vector128.CreateScalar(_result).AsByte()
        : IsWords ? ElementMask.Of<ushort>(_result) : ElementMask.Of<byte>(_result);

    bool IsWords => (_control & 1) != 0;
    bool IsSigned => (_control & 2) != 0;
    bool IsExtended => (_control & 0x40) != 0;

    void Spread(byte* from, Span<ushort> to)
    {
        for (int i = 0; i < _count; i++) to[i] = IsWords ? ((ushort*)from)[i] : from[i];
    }

    uint Aggregate(ReadOnlySpan<ushort> first, int firstLength, ReadOnlySpan<ushort> second, int secondLength)
    {
        var aggregation = (Aggregation)(_control >> 2 & 3);
        uint matches = 0;
        for (int i = 0; i < _count; i++)
        {
            bool isMatch = aggregation switch
            {
                Aggregation.EqualAny => i < secondLength && first[..firstLength].Contains(second[i]),
                Aggregation.Ranges => i < secondLength && IsInRange(first, firstLength, second[i]),
                Aggregation.EqualEach when i < firstLength && i < secondLength => first[i] == second[i],
                Aggregation.EqualEach => i >= firstLength && i >= secondLength,
                _ => StartsAt(i, first, firstLength, second, secondLength),
            };
            if (isMatch) matches |= 1U << i;
        }
        return matches;
    }

    bool IsInRange(ReadOnlySpan<ushort> ranges, int length, ushort element)
    {
        for (int i = 0; i + 1 < length; i += 2)
            if (Value(ranges[i]) <= Value(element) && Value(element) <= Value(ranges[i + 1])) return true;
        return false;
    }

    int Value(ushort element) => !IsSigned ? element : IsWords ? (short)element : (sbyte)element;

    /// <summary>Whether the first string is in the second from a place on, as far as there are elements.</summary>
    bool StartsAt(int place, ReadOnlySpan<ushort> first, int firstLength, ReadOnlySpan<ushort> second, int secondLength)
    {
        for (int i = 0; i < firstLength && place + i < _count; i++)
            if (place + i >= secondLength || first[i] != second[place + i]) return false;
        return true;
    }
}
