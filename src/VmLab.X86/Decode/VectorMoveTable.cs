using Iced.Intel;

namespace VmLab.X86;

/// <summary>Chooses the handler of a move to, from or between vector registers.</summary>
static unsafe class VectorMoveTable
{
    /// <returns><see langword="null"/> when the instruction is none of these.</returns>
    public static Handler Find(in Form f) => f.Instruction.Mnemonic switch
    {
        Mnemonic.Movaps or Mnemonic.Movapd or Mnemonic.Movdqa => Move<Whole>(f),
        Mnemonic.Movntps or Mnemonic.Movntpd or Mnemonic.Movntdq or Mnemonic.Movntdqa => Move<Whole>(f),
        Mnemonic.Movups or Mnemonic.Movupd or Mnemonic.Movdqu or Mnemonic.Lddqu => Move<Unaligned>(f),
        Mnemonic.Movd => MoveLow<W32>(f),
        Mnemonic.Movq or Mnemonic.Movntq => MoveLow<W64>(f),
        Mnemonic.Movss => MoveScalar<W32>(f),
        Mnemonic.Movsd => MoveScalar<W64>(f),
        Mnemonic.Movlps or Mnemonic.Movlpd => f.IsMemory(0) ? Store<W64>(f) : Insert<W64>(f, 0, 0),
        Mnemonic.Movhps or Mnemonic.Movhpd => f.IsMemory(0) ? Store<W64>(f, from: 8) : Insert<W64>(f, 8, 0),
        Mnemonic.Movhlps => Insert<W64>(f, 0, 8),
        Mnemonic.Movlhps => Insert<W64>(f, 8, 0),
        Mnemonic.Movq2dq => SetRegisters(f, &Mmx.ApplyToXmm<Lanes<byte, Lane.Source>>),
        Mnemonic.Movdq2q => VectorTable.Mmx<Lanes<byte, Lane.Source>, Low<W64>>(f),
        Mnemonic.Movmskps => Summarize<Signs<uint>>(f),
        Mnemonic.Movmskpd => Summarize<Signs<ulong>>(f),
        Mnemonic.Pmovmskb => Summarize<Signs<byte>>(f),
        Mnemonic.Pinsrb => Insert<W8>(f, f.Instruction.Immediate8 & 15, 0),
        Mnemonic.Pinsrw => InsertWord(f),
        Mnemonic.Pinsrd => Insert<W32>(f, 4 * (f.Instruction.Immediate8 & 3), 0),
        Mnemonic.Pinsrq => Insert<W64>(f, 8 * (f.Instruction.Immediate8 & 1), 0),
        Mnemonic.Pextrb => Extract<W8>(f, f.Instruction.Immediate8 & 15),
        Mnemonic.Pextrw => Extract<W16>(f, 2 * (f.Instruction.Immediate8 & (VectorTable.IsMmx(f, 1) ? 3 : 7))),
        Mnemonic.Pextrd or Mnemonic.Extractps => Extract<W32>(f, 4 * (f.Instruction.Immediate8 & 3)),
        Mnemonic.Pextrq => Extract<W64>(f, 8 * (f.Instruction.Immediate8 & 1)),
        _ => null,
    };

    /// <summary>A whole register to or from another, or memory.</summary>
    static Handler Move<TLoad>(in Form f)
        where TLoad : ILoad
    {
        if (!f.IsMemory(0)) return VectorTable.Xmm<Lanes<byte, Lane.Source>, TLoad>(f);
        f.SetVectorB(1);
        return f.Address switch
        {
            AddressKind.Base => &Sse.Store<TLoad, BaseAddress>,
            AddressKind.Full => &Sse.Store<TLoad, FullAddress>,
            AddressKind.Narrow32 => &Sse.Store<TLoad, Address32>,
            _ => &Sse.Store<TLoad, Address16>,
        };
    }

    /// <summary>MOVD and MOVQ: to a vector register with zeros above, or its low bytes to elsewhere.</summary>
    static Handler MoveLow<W>(in Form f)
        where W : IWidth
    {
        if (VectorTable.IsXmm(f, 0)) return VectorTable.Xmm<Lanes<byte, Lane.Source>, Low<W>>(f);
        if (VectorTable.IsMmx(f, 0)) return VectorTable.Mmx<Lanes<byte, Lane.Source>, Low<W>>(f);
        return Extract<W>(f, 0);
    }

    /// <summary>MOVSS and MOVSD: from memory with zeros above, from a register without.</summary>
    static Handler MoveScalar<W>(in Form f)
        where W : IWidth
    {
        if (f.IsMemory(0)) return Store<W>(f);
        return f.IsMemory(1) ? VectorTable.Xmm<Lanes<byte, Lane.Source>, Low<W>>(f) : Insert<W>(f, 0, 0);
    }

    /// <summary>Some bytes from the source to the target, each at its offset in its register.</summary>
    static Handler Insert<W>(in Form f, int to, int from)
        where W : IWidth
    {
        Handler handler = VectorTable.Source<InsertBody<W>>(f.SetVectorA(0), 1, isAligned: false);
        f.Op->A += (byte)to;
        f.Op->B += (byte)from;
        return handler;
    }

    static Handler InsertWord(in Form f)
    {
        if (VectorTable.IsXmm(f, 0)) return Insert<W16>(f, 2 * (f.Instruction.Immediate8 & 7), 0);
        Handler handler = VectorTable.Source<InsertMmxBody>(f.SetVectorA(0), 1, isAligned: false);
        f.Op->A += (byte)(2 * (f.Instruction.Immediate8 & 3));
        return handler;
    }

    /// <summary>An element of a vector register to memory, or to a general register with zeros above.</summary>
    static Handler Extract<W>(in Form f, int from)
        where W : IWidth
    {
        if (f.IsMemory(0)) return Store<W>(f, from);
        f.SetA(0).SetVectorB(1).Op->B += (byte)from;
        return VectorTable.IsMmx(f, 1) ? &Mmx.Load<W64, W> : &Moves.LoadZeroExtended<W64, W, XmmRegister>;
    }

    static Handler Store<W>(in Form f, int from = 0)
        where W : IWidth
    {
        f.SetVectorB(1).Op->B += (byte)from;
        if (VectorTable.IsMmx(f, 1)) return f.Address switch
        {
            AddressKind.Base => &Mmx.Store<W, BaseAddress>,
            AddressKind.Full => &Mmx.Store<W, FullAddress>,
            AddressKind.Narrow32 => &Mmx.Store<W, Address32>,
            _ => &Mmx.Store<W, Address16>,
        };
        return f.Address switch
        {
            AddressKind.Base => &Moves.Store<W, BaseAddress, XmmRegister>,
            AddressKind.Full => &Moves.Store<W, FullAddress, XmmRegister>,
            AddressKind.Narrow32 => &Moves.Store<W, Address32, XmmRegister>,
            _ => &Moves.Store<W, Address16, XmmRegister>,
        };
    }

    static Handler Summarize<TOp>(in Form f)
        where TOp : ISummary
    {
        f.SetA(0).SetVectorB(1);
        return VectorTable.IsMmx(f, 1) ? &Mmx.Summarize<TOp> : &Sse.Summarize<TOp>;
    }

    static Handler SetRegisters(in Form f, Handler handler)
    {
        f.SetVectorA(0).SetVectorB(1);
        return handler;
    }

    struct InsertBody<W> : VectorTable.IVectorBody
        where W : IWidth
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &Sse.Insert<W, TSource>;
    }

    struct InsertMmxBody : VectorTable.IVectorBody
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &Mmx.Insert<W16, TSource>;
    }
}
