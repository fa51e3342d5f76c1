using System.Numerics;
using Iced.Intel;
using VmLab.X86.Floating;

namespace VmLab.X86;

/// <summary>Chooses the handler of a vector instruction that computes with floating-point numbers.</summary>
static unsafe class VectorFloatTable
{
    /// <returns><see langword="null"/> when the instruction is none of these.</returns>
    public static Handler Find(in Form f)
    {
        Handler handler = FindArithmetic(f);
        return handler != null ? handler : FindConversion(f);
    }

    static Handler FindArithmetic(in Form f) => f.Instruction.Mnemonic switch
    {
        Mnemonic.Addss => ScalarSingle<Arithmetic.Add>(f),
        Mnemonic.Addsd => ScalarDouble<Arithmetic.Add>(f),
        Mnemonic.Addps => PackedSingle<Arithmetic.Add>(f),
        Mnemonic.Addpd => PackedDouble<Arithmetic.Add>(f),
        Mnemonic.Subss => ScalarSingle<Arithmetic.Subtract>(f),
        Mnemonic.Subsd => ScalarDouble<Arithmetic.Subtract>(f),
        Mnemonic.Subps => PackedSingle<Arithmetic.Subtract>(f),
        Mnemonic.Subpd => PackedDouble<Arithmetic.Subtract>(f),
        Mnemonic.Mulss => ScalarSingle<Arithmetic.Multiply>(f),
        Mnemonic.Mulsd => ScalarDouble<Arithmetic.Multiply>(f),
        Mnemonic.Mulps => PackedSingle<Arithmetic.Multiply>(f),
        Mnemonic.Mulpd => PackedDouble<Arithmetic.Multiply>(f),
        Mnemonic.Divss => ScalarSingle<Arithmetic.Divide>(f),
        Mnemonic.Divsd => ScalarDouble<Arithmetic.Divide>(f),
        Mnemonic.Divps => PackedSingle<Arithmetic.Divide>(f),
        Mnemonic.Divpd => PackedDouble<Arithmetic.Divide>(f),
        Mnemonic.Minss => ScalarSingle<Arithmetic.Min>(f),
        Mnemonic.Minsd => ScalarDouble<Arithmetic.Min>(f),
        Mnemonic.Minps => PackedSingle<Arithmetic.Min>(f),
        Mnemonic.Minpd => PackedDouble<Arithmetic.Min>(f),
        Mnemonic.Maxss => ScalarSingle<Arithmetic.Max>(f),
        Mnemonic.Maxsd => ScalarDouble<Arithmetic.Max>(f),
        Mnemonic.Maxps => PackedSingle<Arithmetic.Max>(f),
        Mnemonic.Maxpd => PackedDouble<Arithmetic.Max>(f),
        Mnemonic.Sqrtss => ScalarSingle<Arithmetic.SquareRoot>(f),
        Mnemonic.Sqrtsd => ScalarDouble<Arithmetic.SquareRoot>(f),
        Mnemonic.Sqrtps => PackedSingle<Arithmetic.SquareRoot>(f),
        Mnemonic.Sqrtpd => PackedDouble<Arithmetic.SquareRoot>(f),
        Mnemonic.Roundss => ScalarSingle<Arithmetic.Round>(f),
        Mnemonic.Roundsd => ScalarDouble<Arithmetic.Round>(f),
        Mnemonic.Roundps => PackedSingle<Arithmetic.Round>(f),
        Mnemonic.Roundpd => PackedDouble<Arithmetic.Round>(f),
        Mnemonic.Cmpss => ScalarSingle<Arithmetic.Compare>(f),
        Mnemonic.Cmpsd => ScalarDouble<Arithmetic.Compare>(f),
        Mnemonic.Cmpps => PackedSingle<Arithmetic.Compare>(f),
        Mnemonic.Cmppd => PackedDouble<Arithmetic.Compare>(f),
        Mnemonic.Comiss => Compare<uint, Ordered<uint, Binary32>>(f),
        Mnemonic.Comisd => Compare<ulong, Ordered<ulong, Binary64>>(f),
        Mnemonic.Ucomiss => Compare<uint, Unordered<uint, Binary32>>(f),
        Mnemonic.Ucomisd => Compare<ulong, Unordered<ulong, Binary64>>(f),
        Mnemonic.Haddps => Apply<Horizontal<uint, Binary32, Arithmetic.Add>, Whole>(f),
        Mnemonic.Haddpd => Apply<Horizontal<ulong, Binary64, Arithmetic.Add>, Whole>(f),
        Mnemonic.Hsubps => Apply<Horizontal<uint, Binary32, Arithmetic.Subtract>, Whole>(f),
        Mnemonic.Hsubpd => Apply<Horizontal<ulong, Binary64, Arithmetic.Subtract>, Whole>(f),
        Mnemonic.Addsubps => Apply<AddSubtract<uint, Binary32>, Whole>(f),
        Mnemonic.Addsubpd => Apply<AddSubtract<ulong, Binary64>, Whole>(f),
        Mnemonic.Dpps => Apply<DotProduct<uint, Binary32>, Whole>(f),
        Mnemonic.Dppd => Apply<DotProduct<ulong, Binary64>, Whole>(f),
        Mnemonic.Rcpss => VectorTable.Xmm<ApproximateScalar<Reciprocal>, Low<W32>>(f),
        Mnemonic.Rcpps => VectorTable.Xmm<ApproximatePacked<Reciprocal>, Whole>(f),
        Mnemonic.Rsqrtss => VectorTable.Xmm<ApproximateScalar<ReciprocalSquareRoot>, Low<W32>>(f),
        Mnemonic.Rsqrtps => VectorTable.Xmm<ApproximatePacked<ReciprocalSquareRoot>, Whole>(f),
        _ => null,
    };

    static Handler FindConversion(in Form f) => f.Instruction.Mnemonic switch
    {
        Mnemonic.Cvtss2sd => Apply<ConvertScalar<uint, ulong, SingleToDouble>, Low<W32>>(f),
        Mnemonic.Cvtsd2ss => Apply<ConvertScalar<ulong, uint, DoubleToSingle>, Low<W64>>(f),
        Mnemonic.Cvtps2pd => Apply<ConvertPacked<uint, ulong, SingleToDouble>, Low<W64>>(f),
        Mnemonic.Cvtpd2ps => Apply<ConvertPacked<ulong, uint, DoubleToSingle>, Whole>(f),
        Mnemonic.Cvtdq2ps => Apply<ConvertPacked<int, uint, FromInt32<uint, Binary32>>, Whole>(f),
        Mnemonic.Cvtdq2pd => Apply<ConvertPacked<int, ulong, FromInt32<ulong, Binary64>>, Low<W64>>(f),
        Mnemonic.Cvtps2dq => Apply<ConvertPacked<uint, int, ToInt32<uint, Binary32>>, Whole>(f),
        Mnemonic.Cvttps2dq => Apply<ConvertPacked<uint, int, ToInt32Truncated<uint, Binary32>>, Whole>(f),
        Mnemonic.Cvtpd2dq => Apply<ConvertPacked<ulong, int, ToInt32<ulong, Binary64>>, Whole>(f),
        Mnemonic.Cvttpd2dq => Apply<ConvertPacked<ulong, int, ToInt32Truncated<ulong, Binary64>>, Whole>(f),
        Mnemonic.Cvtpi2ps => ApplyFromMmx<ConvertPair<int, uint, FromInt32<uint, Binary32>>>(f),
        Mnemonic.Cvtpi2pd => ApplyFromMmx<ConvertPacked<int, ulong, FromInt32<ulong, Binary64>>>(f),
        Mnemonic.Cvtps2pi => ApplyToMmx<ConvertPair<uint, int, ToInt32<uint, Binary32>>, Low<W64>>(f),
        Mnemonic.Cvttps2pi => ApplyToMmx<ConvertPair<uint, int, ToInt32Truncated<uint, Binary32>>, Low<W64>>(f),
        Mnemonic.Cvtpd2pi => ApplyToMmx<ConvertPacked<ulong, int, ToInt32<ulong, Binary64>>, Whole>(f),
        Mnemonic.Cvttpd2pi => ApplyToMmx<ConvertPacked<ulong, int, ToInt32Truncated<ulong, Binary64>>, Whole>(f),
        Mnemonic.Cvtsi2ss => FromGeneral<uint, Binary32>(f),
        Mnemonic.Cvtsi2sd => FromGeneral<ulong, Binary64>(f),
        Mnemonic.Cvtss2si => IsWide(f)
            ? ToGeneral<W64, uint, long, ToInt64<uint, Binary32>>(f)
            : ToGeneral<W32, uint, int, ToInt32<uint, Binary32>>(f),
        Mnemonic.Cvtsd2si => IsWide(f)
            ? ToGeneral<W64, ulong, long, ToInt64<ulong, Binary64>>(f)
            : ToGeneral<W32, ulong, int, ToInt32<ulong, Binary64>>(f),
        Mnemonic.Cvttss2si => IsWide(f)
            ? ToGeneral<W64, uint, long, ToInt64Truncated<uint, Binary32>>(f)
            : ToGeneral<W32, uint, int, ToInt32Truncated<uint, Binary32>>(f),
        Mnemonic.Cvttsd2si => IsWide(f)
            ? ToGeneral<W64, ulong, long, ToInt64Truncated<ulong, Binary64>>(f)
            : ToGeneral<W32, ulong, int, ToInt32Truncated<ulong, Binary64>>(f),
        _ => null,
    };

    static Handler ScalarSingle<TOp>(in Form f)
        where TOp : INumbers => Apply<Scalar<uint, Binary32, TOp>, Low<W32>>(f);

    static Handler ScalarDouble<TOp>(in Form f)
        where TOp : INumbers => Apply<Scalar<ulong, Binary64, TOp>, Low<W64>>(f);

    static Handler PackedSingle<TOp>(in Form f)
        where TOp : INumbers => Apply<Packed<uint, Binary32, TOp>, Whole>(f);

    static Handler PackedDouble<TOp>(in Form f)
        where TOp : INumbers => Apply<Packed<ulong, Binary64, TOp>, Whole>(f);

    static Handler Apply<TOp, TLoad>(in Form f)
        where TOp : IFloatVector
        where TLoad : ILoad =>
        VectorTable.Source<ApplyBody<TOp, TLoad>>(VectorTable.SetControl(f.SetVectorA(0)), 1, TLoad.IsAligned);

    static Handler Compare<TBits, TRelation>(in Form f)
        where TBits : unmanaged
        where TRelation : IRelation<TBits> =>
        VectorTable.Source<CompareBody<TBits, TRelation>>(f.SetVectorA(0), 1, isAligned: false);

    static Handler FromGeneral<TBits, TFormat>(in Form f)
        where TBits : unmanaged, IBinaryInteger<TBits>
        where TFormat : IScalarFormat<TBits> => f.Width(1) == 8
        ? Apply<ConvertScalar<long, TBits, FromInt64<TBits, TFormat>>, Low<W64>>(f)
        : Apply<ConvertScalar<int, TBits, FromInt32<TBits, TFormat>>, Low<W32>>(f);

    static Handler ToGeneral<W, TFrom, TTo, TConversion>(in Form f)
        where W : IWidth
        where TFrom : unmanaged
        where TTo : unmanaged, IBinaryInteger<TTo>
        where TConversion : IConversion<TFrom, TTo> =>
        VectorTable.Source<ToGeneralBody<W, TFrom, TTo, TConversion>>(f.SetA(0), 1, isAligned: false);

    static Handler ApplyFromMmx<TOp>(in Form f)
        where TOp : IFloatVector
    {
        if (f.IsMemory(1)) return Apply<TOp, Low<W64>>(f);
        f.SetVectorA(0).SetVectorB(1);
        return &SseFloat.ApplyFromMmx<TOp>;
    }

    static Handler ApplyToMmx<TOp, TLoad>(in Form f)
        where TOp : IFloatVector
        where TLoad : ILoad => VectorTable.Source<ApplyToMmxBody<TOp, TLoad>>(f.SetVectorA(0), 1, TLoad.IsAligned);

    static bool IsWide(in Form f) => f.Width(0) == 8;

    struct ApplyBody<TOp, TLoad> : VectorTable.IVectorBody
        where TOp : IFloatVector
        where TLoad : ILoad
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SseFloat.Apply<TOp, TLoad, TSource>;
    }

    struct ApplyToMmxBody<TOp, TLoad> : VectorTable.IVectorBody
        where TOp : IFloatVector
        where TLoad : ILoad
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SseFloat.ApplyToMmx<TOp, TLoad, TSource>;
    }

    struct ToGeneralBody<W, TFrom, TTo, TConversion> : VectorTable.IVectorBody
        where W : IWidth
        where TFrom : unmanaged
        where TTo : unmanaged, IBinaryInteger<TTo>
        where TConversion : IConversion<TFrom, TTo>
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SseFloat.ToGeneral<W, TFrom, TTo, TConversion, TSource>;
    }

    struct CompareBody<TBits, TRelation> : VectorTable.IVectorBody
        where TBits : unmanaged
        where TRelation : IRelation<TBits>
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SseFloat.Compare<TBits, TRelation, TSource>;
    }
}
