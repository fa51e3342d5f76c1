using Iced.Intel;

namespace VmLab.X86;

/// <summary>Chooses the handler of a vector instruction that computes with integers, or moves elements about.</summary>
static unsafe class VectorIntegerTable
{
    /// <returns><see langword="null"/> when the instruction is none of these.</returns>
    public static Handler Find(in Form f)
    {
        Handler handler = FindLanes(f);
        if (handler == null) handler = FindAcross(f);
        if (handler == null) handler = FindMixed(f);
        return handler;
    }

    /// <summary>What works on each pair of elements.</summary>
    static Handler FindLanes(in Form f) => f.Instruction.Mnemonic switch
    {
        Mnemonic.Pand or Mnemonic.Andps or Mnemonic.Andpd => VectorTable.Apply<Lanes<byte, Lane.And>>(f),
        Mnemonic.Pandn or Mnemonic.Andnps or Mnemonic.Andnpd => VectorTable.Apply<Lanes<byte, Lane.AndNot>>(f),
        Mnemonic.Por or Mnemonic.Orps or Mnemonic.Orpd => VectorTable.Apply<Lanes<byte, Lane.Or>>(f),
        Mnemonic.Pxor or Mnemonic.Xorps or Mnemonic.Xorpd => VectorTable.Apply<Lanes<byte, Lane.Xor>>(f),
        Mnemonic.Paddb => VectorTable.Apply<Lanes<byte, Lane.Add>>(f),
        Mnemonic.Paddw => VectorTable.Apply<Lanes<short, Lane.Add>>(f),
        Mnemonic.Paddd => VectorTable.Apply<Lanes<int, Lane.Add>>(f),
        Mnemonic.Paddq => VectorTable.Apply<Lanes<long, Lane.Add>>(f),
        Mnemonic.Psubb => VectorTable.Apply<Lanes<byte, Lane.Subtract>>(f),
        Mnemonic.Psubw => VectorTable.Apply<Lanes<short, Lane.Subtract>>(f),
        Mnemonic.Psubd => VectorTable.Apply<Lanes<int, Lane.Subtract>>(f),
        Mnemonic.Psubq => VectorTable.Apply<Lanes<long, Lane.Subtract>>(f),
        Mnemonic.Paddsb => VectorTable.Apply<Lanes<sbyte, Lane.AddSaturated>>(f),
        Mnemonic.Paddsw => VectorTable.Apply<Lanes<short, Lane.AddSaturated>>(f),
        Mnemonic.Paddusb => VectorTable.Apply<Lanes<byte, Lane.AddSaturated>>(f),
        Mnemonic.Paddusw => VectorTable.Apply<Lanes<ushort, Lane.AddSaturated>>(f),
        Mnemonic.Psubsb => VectorTable.Apply<Lanes<sbyte, Lane.SubtractSaturated>>(f),
        Mnemonic.Psubsw => VectorTable.Apply<Lanes<short, Lane.SubtractSaturated>>(f),
        Mnemonic.Psubusb => VectorTable.Apply<Lanes<byte, Lane.SubtractSaturated>>(f),
        Mnemonic.Psubusw => VectorTable.Apply<Lanes<ushort, Lane.SubtractSaturated>>(f),
        Mnemonic.Pmullw => VectorTable.Apply<Lanes<short, Lane.Multiply>>(f),
        Mnemonic.Pmulld => VectorTable.Apply<Lanes<int, Lane.Multiply>>(f),
        Mnemonic.Pminub => VectorTable.Apply<Lanes<byte, Lane.Min>>(f),
        Mnemonic.Pminuw => VectorTable.Apply<Lanes<ushort, Lane.Min>>(f),
        Mnemonic.Pminud => VectorTable.Apply<Lanes<uint, Lane.Min>>(f),
        Mnemonic.Pminsb => VectorTable.Apply<Lanes<sbyte, Lane.Min>>(f),
        Mnemonic.Pminsw => VectorTable.Apply<Lanes<short, Lane.Min>>(f),
        Mnemonic.Pminsd => VectorTable.Apply<Lanes<int, Lane.Min>>(f),
        Mnemonic.Pmaxub => VectorTable.Apply<Lanes<byte, Lane.Max>>(f),
        Mnemonic.Pmaxuw => VectorTable.Apply<Lanes<ushort, Lane.Max>>(f),
        Mnemonic.Pmaxud => VectorTable.Apply<Lanes<uint, Lane.Max>>(f),
        Mnemonic.Pmaxsb => VectorTable.Apply<Lanes<sbyte, Lane.Max>>(f),
        Mnemonic.Pmaxsw => VectorTable.Apply<Lanes<short, Lane.Max>>(f),
        Mnemonic.Pmaxsd => VectorTable.Apply<Lanes<int, Lane.Max>>(f),
        Mnemonic.Pavgb => VectorTable.Apply<Lanes<byte, Lane.Average>>(f),
        Mnemonic.Pavgw => VectorTable.Apply<Lanes<ushort, Lane.Average>>(f),
        Mnemonic.Pcmpeqb => VectorTable.Apply<Lanes<byte, Lane.IsEqual>>(f),
        Mnemonic.Pcmpeqw => VectorTable.Apply<Lanes<short, Lane.IsEqual>>(f),
        Mnemonic.Pcmpeqd => VectorTable.Apply<Lanes<int, Lane.IsEqual>>(f),
        Mnemonic.Pcmpeqq => VectorTable.Apply<Lanes<long, Lane.IsEqual>>(f),
        Mnemonic.Pcmpgtb => VectorTable.Apply<Lanes<sbyte, Lane.IsGreater>>(f),
        Mnemonic.Pcmpgtw => VectorTable.Apply<Lanes<short, Lane.IsGreater>>(f),
        Mnemonic.Pcmpgtd => VectorTable.Apply<Lanes<int, Lane.IsGreater>>(f),
        Mnemonic.Pcmpgtq => VectorTable.Apply<Lanes<long, Lane.IsGreater>>(f),
        Mnemonic.Pabsb => VectorTable.Apply<Lanes<sbyte, Lane.Magnitude>>(f),
        Mnemonic.Pabsw => VectorTable.Apply<Lanes<short, Lane.Magnitude>>(f),
        Mnemonic.Pabsd => VectorTable.Apply<Lanes<int, Lane.Magnitude>>(f),
        Mnemonic.Psignb => VectorTable.Apply<Lanes<sbyte, Lane.Sign>>(f),
        Mnemonic.Psignw => VectorTable.Apply<Lanes<short, Lane.Sign>>(f),
        Mnemonic.Psignd => VectorTable.Apply<Lanes<int, Lane.Sign>>(f),
        Mnemonic.Psllw => VectorTable.Apply<Shifted<ushort, LaneShift.Left>>(f),
        Mnemonic.Pslld => VectorTable.Apply<Shifted<uint, LaneShift.Left>>(f),
        Mnemonic.Psllq => VectorTable.Apply<Shifted<ulong, LaneShift.Left>>(f),
        Mnemonic.Psrlw => VectorTable.Apply<Shifted<ushort, LaneShift.Right>>(f),
        Mnemonic.Psrld => VectorTable.Apply<Shifted<uint, LaneShift.Right>>(f),
        Mnemonic.Psrlq => VectorTable.Apply<Shifted<ulong, LaneShift.Right>>(f),
        Mnemonic.Psraw => VectorTable.Apply<Shifted<short, LaneShift.Arithmetic>>(f),
        Mnemonic.Psrad => VectorTable.Apply<Shifted<int, LaneShift.Arithmetic>>(f),
        _ => null,
    };

    /// <summary>What combines or moves elements of different places.</summary>
    static Handler FindAcross(in Form f) => f.Instruction.Mnemonic switch
    {
        Mnemonic.Punpcklbw => UnpackLow<UnpackLowBytes>(f),
        Mnemonic.Punpcklwd => UnpackLow<UnpackLowWords>(f),
        Mnemonic.Punpckldq => UnpackLow<UnpackLowDoublewords>(f),
        Mnemonic.Unpcklps => VectorTable.Apply<UnpackLowDoublewords>(f),
        Mnemonic.Punpcklqdq or Mnemonic.Unpcklpd => VectorTable.Apply<UnpackLowQuadwords>(f),
        Mnemonic.Punpckhbw => VectorTable.Apply<UnpackHighBytes, UpperHalf<UnpackLowBytes>>(f),
        Mnemonic.Punpckhwd => VectorTable.Apply<UnpackHighWords, UpperHalf<UnpackLowWords>>(f),
        Mnemonic.Punpckhdq or Mnemonic.Unpckhps =>
            VectorTable.Apply<UnpackHighDoublewords, UpperHalf<UnpackLowDoublewords>>(f),
        Mnemonic.Punpckhqdq or Mnemonic.Unpckhpd => VectorTable.Apply<UnpackHighQuadwords>(f),
        Mnemonic.Packsswb => VectorTable.Apply<PackWordsSigned, Joined<PackWordsSigned>>(f),
        Mnemonic.Packuswb => VectorTable.Apply<PackWordsUnsigned, Joined<PackWordsUnsigned>>(f),
        Mnemonic.Packssdw => VectorTable.Apply<PackDoublewordsSigned, Joined<PackDoublewordsSigned>>(f),
        Mnemonic.Packusdw => VectorTable.Apply<PackDoublewordsUnsigned>(f),
        Mnemonic.Pshufb => VectorTable.Apply<ShuffleBytes, ShuffleEightBytes>(f),
        Mnemonic.Pshufd => VectorTable.Apply<ShuffleDoublewords>(f),
        Mnemonic.Pshuflw or Mnemonic.Pshufw => VectorTable.Apply<ShuffleLowWords>(f),
        Mnemonic.Pshufhw => VectorTable.Apply<ShuffleHighWords>(f),
        Mnemonic.Shufps => VectorTable.Apply<ShuffleSingles>(f),
        Mnemonic.Shufpd => VectorTable.Apply<ShuffleDoubles>(f),
        Mnemonic.Pslldq => VectorTable.Apply<ShiftBytesLeft>(f),
        Mnemonic.Psrldq => VectorTable.Apply<ShiftBytesRight>(f),
        Mnemonic.Palignr => VectorTable.Apply<AlignRight, AlignEightRight>(f),
        Mnemonic.Pblendw => VectorTable.Apply<Blend<ushort>>(f),
        Mnemonic.Blendps => VectorTable.Apply<Blend<uint>>(f),
        Mnemonic.Blendpd => VectorTable.Apply<Blend<ulong>>(f),
        Mnemonic.Pmulhw => VectorTable.Apply<MultiplyHigh>(f),
        Mnemonic.Pmulhuw => VectorTable.Apply<MultiplyHighUnsigned>(f),
        Mnemonic.Pmulhrsw => VectorTable.Apply<MultiplyHighRounded>(f),
        Mnemonic.Pmaddwd => VectorTable.Apply<MultiplyAdd>(f),
        Mnemonic.Pmaddubsw => VectorTable.Apply<MultiplyAddBytes>(f),
        Mnemonic.Pmuludq => VectorTable.Apply<MultiplyEvenUnsigned>(f),
        Mnemonic.Pmuldq => VectorTable.Apply<MultiplyEven>(f),
        Mnemonic.Psadbw => VectorTable.Apply<SumOfDistances>(f),
        Mnemonic.Mpsadbw => VectorTable.Apply<SlidingSumOfDistances>(f),
        Mnemonic.Phminposuw => VectorTable.Apply<LeastWord>(f),
        Mnemonic.Phaddw => Horizontal<HorizontalWords<Lane.Add>>(f),
        Mnemonic.Phaddsw => Horizontal<HorizontalWords<Lane.AddSaturated>>(f),
        Mnemonic.Phaddd => Horizontal<HorizontalDoublewords<Lane.Add>>(f),
        Mnemonic.Phsubw => Horizontal<HorizontalWords<Lane.Subtract>>(f),
        Mnemonic.Phsubsw => Horizontal<HorizontalWords<Lane.SubtractSaturated>>(f),
        Mnemonic.Phsubd => Horizontal<HorizontalDoublewords<Lane.Subtract>>(f),
        _ => null,
    };

    /// <summary>What reads less than a whole register, or more than two.</summary>
    static Handler FindMixed(in Form f) => f.Instruction.Mnemonic switch
    {
        Mnemonic.Pmovzxbw => VectorTable.Xmm<WidenBytes, Low<W64>>(f),
        Mnemonic.Pmovzxbd => VectorTable.Xmm<Then<WidenBytes, WidenWords>, Low<W32>>(f),
        Mnemonic.Pmovzxbq => VectorTable.Xmm<Then<Then<WidenBytes, WidenWords>, WidenDoublewords>, Low<W16>>(f),
        Mnemonic.Pmovzxwd => VectorTable.Xmm<WidenWords, Low<W64>>(f),
        Mnemonic.Pmovzxwq => VectorTable.Xmm<Then<WidenWords, WidenDoublewords>, Low<W32>>(f),
        Mnemonic.Pmovzxdq => VectorTable.Xmm<WidenDoublewords, Low<W64>>(f),
        Mnemonic.Pmovsxbw => VectorTable.Xmm<WidenSignedBytes, Low<W64>>(f),
        Mnemonic.Pmovsxbd => VectorTable.Xmm<Then<WidenSignedBytes, WidenSignedWords>, Low<W32>>(f),
        Mnemonic.Pmovsxbq =>
            VectorTable.Xmm<Then<Then<WidenSignedBytes, WidenSignedWords>, WidenSignedDoublewords>, Low<W16>>(f),
        Mnemonic.Pmovsxwd => VectorTable.Xmm<WidenSignedWords, Low<W64>>(f),
        Mnemonic.Pmovsxwq => VectorTable.Xmm<Then<WidenSignedWords, WidenSignedDoublewords>, Low<W32>>(f),
        Mnemonic.Pmovsxdq => VectorTable.Xmm<WidenSignedDoublewords, Low<W64>>(f),
        Mnemonic.Movsldup => VectorTable.Apply<DuplicateEven>(f),
        Mnemonic.Movshdup => VectorTable.Apply<DuplicateOdd>(f),
        Mnemonic.Movddup => VectorTable.Xmm<DuplicateLow, Low<W64>>(f),
        Mnemonic.Insertps => InsertSingle(f),
        Mnemonic.Ptest => VectorTable.Source<TestBody>(f.SetVectorA(0), 1, isAligned: true),
        Mnemonic.Pblendvb => VectorTable.Source<BlendBody<sbyte>>(f.SetVectorA(0), 1, isAligned: true),
        Mnemonic.Blendvps => VectorTable.Source<BlendBody<int>>(f.SetVectorA(0), 1, isAligned: true),
        Mnemonic.Blendvpd => VectorTable.Source<BlendBody<long>>(f.SetVectorA(0), 1, isAligned: true),
        Mnemonic.Pcmpestri or Mnemonic.Pcmpestri64 => Strings<FindBody<ExplicitLength>>(f),
        Mnemonic.Pcmpestrm or Mnemonic.Pcmpestrm64 => Strings<MaskBody<ExplicitLength>>(f),
        Mnemonic.Pcmpistri => Strings<FindBody<ImplicitLength>>(f),
        Mnemonic.Pcmpistrm => Strings<MaskBody<ImplicitLength>>(f),
        _ => null,
    };

    /// <summary>An MMX register takes only four bytes from memory.</summary>
    static Handler UnpackLow<TOp>(in Form f)
        where TOp : IVector =>
        VectorTable.IsMmx(f, 0) ? VectorTable.Mmx<TOp, Low<W32>>(f) : VectorTable.Xmm<TOp, Whole>(f);

    static Handler Horizontal<TOp>(in Form f)
        where TOp : IVector => VectorTable.Apply<TOp, Joined<TOp>>(f);

    static Handler InsertSingle(in Form f)
    {
        if (!f.IsMemory(1)) return VectorTable.Apply<InsertSingle>(f);
        Handler handler = VectorTable.Xmm<InsertSingle, Low<W32>>(f);
        f.Op->Immediate &= 0x3F;   // memory has only the one element to choose
        return handler;
    }

    /// <summary>PCMPESTRI and its kin; memory may lie anywhere. Extra tells of lengths of 64 bits.</summary>
    static Handler Strings<TBody>(in Form f)
        where TBody : VectorTable.IVectorBody
    {
        f.Op->Extra = f.Instruction.Mnemonic is Mnemonic.Pcmpestri64 or Mnemonic.Pcmpestrm64 ? (byte)1 : (byte)0;
        return VectorTable.Source<TBody>(VectorTable.SetControl(f.SetVectorA(0)), 1, isAligned: false);
    }

    struct TestBody : VectorTable.IVectorBody
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SseCompare.Test<TSource>;
    }

    struct BlendBody<T> : VectorTable.IVectorBody
        where T : unmanaged
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SseCompare.Blend<T, TSource>;
    }

    struct FindBody<TLength> : VectorTable.IVectorBody
        where TLength : IStringLength
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SseCompare.FindInStrings<TLength, TSource>;
    }

    struct MaskBody<TLength> : VectorTable.IVectorBody
        where TLength : IStringLength
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SseCompare.MaskStrings<TLength, TSource>;
    }
}
