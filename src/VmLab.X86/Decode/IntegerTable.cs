using Iced.Intel;

namespace VmLab.X86;

/// <summary>Chooses the handler of an integer instruction by operation, width and operand kinds.</summary>
/// <remarks>Each row names a body once; the methods below spread it over the operand forms.</remarks>
static unsafe class IntegerTable
{
    /// <returns><see langword="null"/> when the instruction is none of these.</returns>
    public static Handler Find(in Form f) => f.Instruction.Mnemonic switch
    {
        Mnemonic.Mov => MoveTable.Mov(f),
        Mnemonic.Movzx => MoveTable.Extend(f, isSigned: false),
        Mnemonic.Movsx or Mnemonic.Movsxd => MoveTable.Extend(f, isSigned: true),
        Mnemonic.Lea => MoveTable.Lea(f),
        Mnemonic.Add => f.FlagsAreDead ? Binary<FlaglessBinary<Add>>(f) : Binary<Add>(f),
        Mnemonic.Or => f.FlagsAreDead ? Binary<FlaglessBinary<Or>>(f) : Binary<Or>(f),
        Mnemonic.Adc => Binary<Adc>(f),
        Mnemonic.Sbb => Binary<Sbb>(f),
        Mnemonic.And => f.FlagsAreDead ? Binary<FlaglessBinary<And>>(f) : Binary<And>(f),
        Mnemonic.Sub => f.FlagsAreDead ? Binary<FlaglessBinary<Sub>>(f) : Binary<Sub>(f),
        Mnemonic.Xor => f.FlagsAreDead ? Binary<FlaglessBinary<Xor>>(f) : Binary<Xor>(f),
        Mnemonic.Cmp => Binary<Cmp>(f),
        Mnemonic.Test => Binary<Test>(f),
        Mnemonic.Inc => f.FlagsAreDead ? Unary<FlaglessUnary<Inc>>(f) : Unary<Inc>(f),
        Mnemonic.Dec => f.FlagsAreDead ? Unary<FlaglessUnary<Dec>>(f) : Unary<Dec>(f),
        Mnemonic.Neg => Unary<Neg>(f),
        Mnemonic.Not => Unary<Not>(f),
        Mnemonic.Shl or Mnemonic.Sal => f.FlagsAreDead ? Shift<FlaglessShift<Shl>>(f) : Shift<Shl>(f),
        Mnemonic.Shr => f.FlagsAreDead ? Shift<FlaglessShift<Shr>>(f) : Shift<Shr>(f),
        Mnemonic.Sar => f.FlagsAreDead ? Shift<FlaglessShift<Sar>>(f) : Shift<Sar>(f),
        Mnemonic.Rol => Shift<Rol>(f),
        Mnemonic.Ror => Shift<Ror>(f),
        Mnemonic.Rcl => Shift<Rcl>(f),
        Mnemonic.Rcr => Shift<Rcr>(f),
        Mnemonic.Shld => DoubleShift<Left>(f),
        Mnemonic.Shrd => DoubleShift<Right>(f),
        Mnemonic.Bt => Bit<BitTest>(f),
        Mnemonic.Bts => Bit<BitSet>(f),
        Mnemonic.Btr => Bit<BitReset>(f),
        Mnemonic.Btc => Bit<BitComplement>(f),
        Mnemonic.Mul => OneOperand<Multiplication>(f),
        Mnemonic.Div => OneOperand<Division>(f),
        Mnemonic.Idiv => OneOperand<SignedDivision>(f),
        Mnemonic.Imul => Imul(f),
        Mnemonic.Bsf => TwoOperand<ScanForward>(f),
        Mnemonic.Bsr => TwoOperand<ScanReverse>(f),
        Mnemonic.Popcnt => TwoOperand<CountBits>(f),
        Mnemonic.Crc32 => Crc(f),
        Mnemonic.Xadd => f.Width(1) switch { 1 => Xadd<W8>(f), 2 => Xadd<W16>(f), 4 => Xadd<W32>(f), _ => Xadd<W64>(f) },
        Mnemonic.Cmpxchg => f.Width(1) switch { 1 => Cmpxchg<W8>(f), 2 => Cmpxchg<W16>(f), 4 => Cmpxchg<W32>(f), _ => Cmpxchg<W64>(f) },
        Mnemonic.Cmpxchg8b => CmpxchgPair<W32>(f),
        Mnemonic.Cmpxchg16b => CmpxchgPair<W64>(f),
        Mnemonic.Bswap => f.SetA(0).Width(0) switch { 2 => &Alu.ByteSwap<W16>, 4 => &Alu.ByteSwap<W32>, _ => &Alu.ByteSwap<W64> },
        _ => null,
    };

    static Handler Binary<TOp>(in Form f)
        where TOp : IBinary => f.Width(0) switch
        {
            1 => Binary<TOp, W8>(f),
            2 => Binary<TOp, W16>(f),
            4 => Binary<TOp, W32>(f),
            _ => Binary<TOp, W64>(f),
        };

    static Handler Binary<TOp, W>(in Form f)
        where TOp : IBinary
        where W : IWidth
    {
        SourceKind source = f.SetSource(1);
        if (f.IsMemory(0))
        {
            bool isImmediate = source == SourceKind.Immediate;
            if (isImmediate) f.Op->Immediate &= W.Mask;
            return f.Address switch
            {
                AddressKind.Base => isImmediate ? &Alu.BinaryMemory<TOp, W, BaseAddress, Immediate> : &Alu.BinaryMemory<TOp, W, BaseAddress, Register>,
                AddressKind.Full => isImmediate ? &Alu.BinaryMemory<TOp, W, FullAddress, Immediate> : &Alu.BinaryMemory<TOp, W, FullAddress, Register>,
                AddressKind.Narrow32 => isImmediate ? &Alu.BinaryMemory<TOp, W, Address32, Immediate> : &Alu.BinaryMemory<TOp, W, Address32, Register>,
                _ => isImmediate ? &Alu.BinaryMemory<TOp, W, Address16, Immediate> : &Alu.BinaryMemory<TOp, W, Address16, Register>,
            };
        }
        f.SetA(0);
        return source switch
        {
            SourceKind.Register => &Alu.Binary<TOp, W, Register>,
            SourceKind.Immediate => &Alu.Binary<TOp, W, Immediate>,
            _ => f.Address switch
            {
                AddressKind.Base => &Alu.Binary<TOp, W, Memory<BaseAddress>>,
                AddressKind.Full => &Alu.Binary<TOp, W, Memory<FullAddress>>,
                AddressKind.Narrow32 => &Alu.Binary<TOp, W, Memory<Address32>>,
                _ => &Alu.Binary<TOp, W, Memory<Address16>>,
            },
        };
    }

    static Handler Unary<TOp>(in Form f)
        where TOp : IUnary => f.Width(0) switch
        {
            1 => Unary<TOp, W8>(f),
            2 => Unary<TOp, W16>(f),
            4 => Unary<TOp, W32>(f),
            _ => Unary<TOp, W64>(f),
        };

    static Handler Unary<TOp, W>(in Form f)
        where TOp : IUnary
        where W : IWidth
    {
        if (f.IsMemory(0)) return f.Address switch
        {
            AddressKind.Base => &Alu.UnaryMemory<TOp, W, BaseAddress>,
            AddressKind.Full => &Alu.UnaryMemory<TOp, W, FullAddress>,
            AddressKind.Narrow32 => &Alu.UnaryMemory<TOp, W, Address32>,
            _ => &Alu.UnaryMemory<TOp, W, Address16>,
        };
        f.SetA(0);
        return &Alu.Unary<TOp, W>;
    }

    static Handler Shift<TOp>(in Form f)
        where TOp : IShift => f.Width(0) switch
        {
            1 => Shift<TOp, W8>(f),
            2 => Shift<TOp, W16>(f),
            4 => Shift<TOp, W32>(f),
            _ => Shift<TOp, W64>(f),
        };

    static Handler Shift<TOp, W>(in Form f)
        where TOp : IShift
        where W : IWidth
    {
        bool isImmediate = f.SetSource(1) == SourceKind.Immediate;
        if (f.IsMemory(0)) return f.Address switch
        {
            AddressKind.Base => isImmediate ? &Shifts.ShiftMemory<TOp, W, BaseAddress, Immediate> : &Shifts.ShiftMemory<TOp, W, BaseAddress, Register>,
            AddressKind.Full => isImmediate ? &Shifts.ShiftMemory<TOp, W, FullAddress, Immediate> : &Shifts.ShiftMemory<TOp, W, FullAddress, Register>,
            AddressKind.Narrow32 => isImmediate ? &Shifts.ShiftMemory<TOp, W, Address32, Immediate> : &Shifts.ShiftMemory<TOp, W, Address32, Register>,
            _ => isImmediate ? &Shifts.ShiftMemory<TOp, W, Address16, Immediate> : &Shifts.ShiftMemory<TOp, W, Address16, Register>,
        };
        f.SetA(0);
        return isImmediate ? &Shifts.Shift<TOp, W, Immediate> : &Shifts.Shift<TOp, W, Register>;
    }

    static Handler DoubleShift<TDirection>(in Form f)
        where TDirection : IDirection
    {
        f.SetB(1);
        if (f.IsImmediate(2)) f.SetImmediate(2);
        else f.Op->Extra = 1;
        return f.Width(1) switch
        {
            2 => DoubleShift<W16, TDirection>(f),
            4 => DoubleShift<W32, TDirection>(f),
            _ => DoubleShift<W64, TDirection>(f),
        };
    }

    static Handler DoubleShift<W, TDirection>(in Form f)
        where W : IWidth
        where TDirection : IDirection
    {
        if (f.IsMemory(0)) return f.Address switch
        {
            AddressKind.Base => &Shifts.DoubleShiftMemory<W, TDirection, BaseAddress>,
            AddressKind.Full => &Shifts.DoubleShiftMemory<W, TDirection, FullAddress>,
            AddressKind.Narrow32 => &Shifts.DoubleShiftMemory<W, TDirection, Address32>,
            _ => &Shifts.DoubleShiftMemory<W, TDirection, Address16>,
        };
        f.SetA(0);
        return &Shifts.DoubleShift<W, TDirection>;
    }

    static Handler Bit<TOp>(in Form f)
        where TOp : IBit => f.Width(0) switch
        {
            2 => Bit<TOp, W16>(f),
            4 => Bit<TOp, W32>(f),
            _ => Bit<TOp, W64>(f),
        };

    static Handler Bit<TOp, W>(in Form f)
        where TOp : IBit
        where W : IWidth
    {
        bool isImmediate = f.SetSource(1) == SourceKind.Immediate;
        if (f.IsMemory(0)) return f.Address switch
        {
            AddressKind.Base => isImmediate ? &Shifts.BitMemory<TOp, W, BaseAddress, Immediate> : &Shifts.BitMemory<TOp, W, BaseAddress, Register>,
            AddressKind.Full => isImmediate ? &Shifts.BitMemory<TOp, W, FullAddress, Immediate> : &Shifts.BitMemory<TOp, W, FullAddress, Register>,
            AddressKind.Narrow32 => isImmediate ? &Shifts.BitMemory<TOp, W, Address32, Immediate> : &Shifts.BitMemory<TOp, W, Address32, Register>,
            _ => isImmediate ? &Shifts.BitMemory<TOp, W, Address16, Immediate> : &Shifts.BitMemory<TOp, W, Address16, Register>,
        };
        f.SetA(0);
        return isImmediate ? &Shifts.Bit<TOp, W, Immediate> : &Shifts.Bit<TOp, W, Register>;
    }

    /// <summary>A body over one source operand, with the accumulator as target.</summary>
    interface IBody
    {
        static abstract Handler Of<W, TSource>()
            where W : IWidth
            where TSource : ISource;
    }

    struct Multiplication : IBody
    {
        public static Handler Of<W, TSource>()
            where W : IWidth
            where TSource : ISource => &MulDiv.Multiply<W, TSource>;
    }

    struct SignedMultiplication : IBody
    {
        public static Handler Of<W, TSource>()
            where W : IWidth
            where TSource : ISource => &MulDiv.MultiplySigned<W, TSource>;
    }

    struct MultiplicationInto : IBody
    {
        public static Handler Of<W, TSource>()
            where W : IWidth
            where TSource : ISource => &MulDiv.MultiplyInto<W, TSource>;
    }

    struct MultiplicationByImmediate : IBody
    {
        public static Handler Of<W, TSource>()
            where W : IWidth
            where TSource : ISource => &MulDiv.MultiplyImmediate<W, TSource>;
    }

    struct Division : IBody
    {
        public static Handler Of<W, TSource>()
            where W : IWidth
            where TSource : ISource => &MulDiv.Divide<W, TSource>;
    }

    struct SignedDivision : IBody
    {
        public static Handler Of<W, TSource>()
            where W : IWidth
            where TSource : ISource => &MulDiv.DivideSigned<W, TSource>;
    }

    struct ScanForward : IBody
    {
        public static Handler Of<W, TSource>()
            where W : IWidth
            where TSource : ISource => &Alu.BitScanForward<W, TSource>;
    }

    struct ScanReverse : IBody
    {
        public static Handler Of<W, TSource>()
            where W : IWidth
            where TSource : ISource => &Alu.BitScanReverse<W, TSource>;
    }

    struct CountBits : IBody
    {
        public static Handler Of<W, TSource>()
            where W : IWidth
            where TSource : ISource => &Alu.PopulationCount<W, TSource>;
    }

    struct Checksum : IBody
    {
        public static Handler Of<W, TSource>()
            where W : IWidth
            where TSource : ISource => &Alu.Crc32<W, TSource>;
    }

    static Handler OneOperand<TBody>(in Form f)
        where TBody : IBody => Body<TBody>(f, 0, f.Width(0));

    static Handler TwoOperand<TBody>(in Form f)
        where TBody : IBody => Body<TBody>(f.SetA(0), 1, f.Width(0));

    static Handler Crc(in Form f) => Body<Checksum>(f.SetA(0), 1, f.Width(1));

    static Handler Imul(in Form f)
    {
        if (f.Instruction.OpCount == 1) return OneOperand<SignedMultiplication>(f);
        if (f.Instruction.OpCount == 2) return TwoOperand<MultiplicationInto>(f);
        f.SetImmediate(2);
        return TwoOperand<MultiplicationByImmediate>(f);
    }

    static Handler Body<TBody>(in Form f, int source, int width)
        where TBody : IBody
    {
        SourceKind kind = f.SetSource(source);
        return width switch
        {
            1 => Body<TBody, W8>(kind, f.Address),
            2 => Body<TBody, W16>(kind, f.Address),
            4 => Body<TBody, W32>(kind, f.Address),
            _ => Body<TBody, W64>(kind, f.Address),
        };
    }

    static Handler Body<TBody, W>(SourceKind source, AddressKind address)
        where TBody : IBody
        where W : IWidth
    {
        if (source == SourceKind.Register) return TBody.Of<W, Register>();
        return address switch
        {
            AddressKind.Base => TBody.Of<W, Memory<BaseAddress>>(),
            AddressKind.Full => TBody.Of<W, Memory<FullAddress>>(),
            AddressKind.Narrow32 => TBody.Of<W, Memory<Address32>>(),
            _ => TBody.Of<W, Memory<Address16>>(),
        };
    }

    static Handler Xadd<W>(in Form f)
        where W : IWidth
    {
        f.SetB(1);
        if (f.IsMemory(0)) return f.Address switch
        {
            AddressKind.Base => &Alu.ExchangeAddMemory<W, BaseAddress>,
            AddressKind.Full => &Alu.ExchangeAddMemory<W, FullAddress>,
            AddressKind.Narrow32 => &Alu.ExchangeAddMemory<W, Address32>,
            _ => &Alu.ExchangeAddMemory<W, Address16>,
        };
        f.SetA(0);
        return &Alu.ExchangeAdd<W>;
    }

    static Handler Cmpxchg<W>(in Form f)
        where W : IWidth
    {
        f.SetB(1);
        if (f.IsMemory(0)) return f.Address switch
        {
            AddressKind.Base => &Alu.CompareExchangeMemory<W, BaseAddress>,
            AddressKind.Full => &Alu.CompareExchangeMemory<W, FullAddress>,
            AddressKind.Narrow32 => &Alu.CompareExchangeMemory<W, Address32>,
            _ => &Alu.CompareExchangeMemory<W, Address16>,
        };
        f.SetA(0);
        return &Alu.CompareExchange<W>;
    }

    static Handler CmpxchgPair<W>(in Form f)
        where W : IWidth => f.Address switch
        {
            AddressKind.Base => &Alu.CompareExchangePair<W, BaseAddress>,
            AddressKind.Full => &Alu.CompareExchangePair<W, FullAddress>,
            AddressKind.Narrow32 => &Alu.CompareExchangePair<W, Address32>,
            _ => &Alu.CompareExchangePair<W, Address16>,
        };
}
