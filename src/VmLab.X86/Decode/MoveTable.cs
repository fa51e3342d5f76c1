using Iced.Intel;

namespace VmLab.X86;

/// <summary>Chooses the handler of a move, extension, exchange, stack or string instruction.</summary>
static unsafe class MoveTable
{
    /// <returns><see langword="null"/> when the instruction is none of these.</returns>
    public static Handler Find(in Form f) => f.Instruction.Mnemonic switch
    {
        Mnemonic.Xchg => Xchg(f),
        Mnemonic.Push => Push(f),
        Mnemonic.Pop => Pop(f),
        Mnemonic.Leave => Leave(f),
        Mnemonic.Enter => Enter(f),
        Mnemonic.Xlatb => f.Address switch
        {
            AddressKind.Narrow32 => &Moves.Translate<Address32>,
            AddressKind.Narrow16 => &Moves.Translate<Address16>,
            _ => &Moves.Translate<FullAddress>,
        },
        Mnemonic.Lahf => &Moves.LoadFlags,
        Mnemonic.Sahf => &Moves.StoreFlags,
        Mnemonic.Cbw => &Moves.ExtendAccumulator<W16, W8>,
        Mnemonic.Cwde => &Moves.ExtendAccumulator<W32, W16>,
        Mnemonic.Cdqe => &Moves.ExtendAccumulator<W64, W32>,
        Mnemonic.Cwd => &Moves.SpreadSign<W16>,
        Mnemonic.Cdq => &Moves.SpreadSign<W32>,
        Mnemonic.Cqo => &Moves.SpreadSign<W64>,
        Mnemonic.Cmc => &Moves.ComplementCarry,
        Mnemonic.Clc => &Moves.ClearCarry,
        Mnemonic.Stc => &Moves.SetCarry,
        Mnemonic.Cld => &Moves.ClearDirection,
        Mnemonic.Std => &Moves.SetDirection,
        Mnemonic.Pause when f.IsLong && (f.Code[f.Instruction.Length - 2] & 0xF1) == 0x41 => XchgR8(f),
        Mnemonic.Nop or Mnemonic.Pause or Mnemonic.Lfence or Mnemonic.Mfence or Mnemonic.Sfence => &Moves.Nothing,
        // 0F 0D is PREFETCH of memory, 0F 18 to 1F hints that this processor takes no notice of.
        Mnemonic.Reservednop => IsPrefetchOfRegister(f.Instruction) ? &SystemOps.InvalidOpcode : &Moves.Nothing,
        Mnemonic.Movnti => f.Width(1) == 8 ? Store<W64>(f) : Store<W32>(f),
        Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd or Mnemonic.Movsq when f.Instruction.IsStringInstruction => String<MoveString>(f),
        Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd or Mnemonic.Stosq => String<FillString>(f),
        Mnemonic.Lodsb or Mnemonic.Lodsw or Mnemonic.Lodsd or Mnemonic.Lodsq => String<LoadString>(f),
        Mnemonic.Cmpsb or Mnemonic.Cmpsw or Mnemonic.Cmpsd or Mnemonic.Cmpsq when f.Instruction.IsStringInstruction => String<CompareStrings>(f),
        Mnemonic.Scasb or Mnemonic.Scasw or Mnemonic.Scasd or Mnemonic.Scasq => String<ScanString>(f),
        Mnemonic.Insb or Mnemonic.Insw or Mnemonic.Insd => String<InputString>(f),
        Mnemonic.Outsb or Mnemonic.Outsw or Mnemonic.Outsd => String<OutputString>(f),
        _ => null,
    };

    public static Handler Mov(in Form f)
    {
        if (f.Instruction.OpCount == 2 && f.Instruction.Op0Kind == OpKind.Register && !f.Instruction.Op0Register.IsGPR()) return null;
        if (f.Instruction.Op1Kind == OpKind.Register && !f.Instruction.Op1Register.IsGPR()) return null;
        return f.Width(0) switch
        {
            1 => Mov<W8>(f),
            2 => Mov<W16>(f),
            4 => Mov<W32>(f),
            _ => Mov<W64>(f),
        };
    }

    static Handler Mov<W>(in Form f)
        where W : IWidth
    {
        if (f.IsMemory(0)) return Store<W>(f);
        return f.SetA(0).SetSource(1) switch
        {
            SourceKind.Register => &Moves.Load<W, Register>,
            SourceKind.Immediate => &Moves.Load<W, Immediate>,
            _ => f.Address switch
            {
                AddressKind.Base => &Moves.Load<W, Memory<BaseAddress>>,
                AddressKind.Full => &Moves.Load<W, Memory<FullAddress>>,
                AddressKind.Narrow32 => &Moves.Load<W, Memory<Address32>>,
                _ => &Moves.Load<W, Memory<Address16>>,
            },
        };
    }

    static Handler Store<W>(in Form f)
        where W : IWidth
    {
        bool isImmediate = f.SetSource(1) == SourceKind.Immediate;
        return f.Address switch
        {
            AddressKind.Base => isImmediate ? &Moves.Store<W, BaseAddress, Immediate> : &Moves.Store<W, BaseAddress, Register>,
            AddressKind.Full => isImmediate ? &Moves.Store<W, FullAddress, Immediate> : &Moves.Store<W, FullAddress, Register>,
            AddressKind.Narrow32 => isImmediate ? &Moves.Store<W, Address32, Immediate> : &Moves.Store<W, Address32, Register>,
            _ => isImmediate ? &Moves.Store<W, Address16, Immediate> : &Moves.Store<W, Address16, Register>,
        };
    }

    public static Handler Extend(in Form f, bool isSigned) => (f.SetA(0).Width(0), f.Width(1)) switch
    {
        (2, 1) => Extend<W16, W8>(f, isSigned),
        (4, 1) => Extend<W32, W8>(f, isSigned),
        (8, 1) => Extend<W64, W8>(f, isSigned),
        (2, 2) => Extend<W16, W16>(f, isSigned),
        (4, 2) => Extend<W32, W16>(f, isSigned),
        (8, 2) => Extend<W64, W16>(f, isSigned),
        (4, 4) => Extend<W32, W32>(f, isSigned),
        (2, 4) => Extend<W16, W32>(f, isSigned),
        _ => Extend<W64, W32>(f, isSigned),
    };

    static Handler Extend<WTo, WFrom>(in Form f, bool isSigned)
        where WTo : IWidth
        where WFrom : IWidth
    {
        if (f.SetSource(1) == SourceKind.Register)
            return isSigned ? &Moves.LoadSignExtended<WTo, WFrom, Register> : &Moves.LoadZeroExtended<WTo, WFrom, Register>;
        return f.Address switch
        {
            AddressKind.Base => isSigned ? &Moves.LoadSignExtended<WTo, WFrom, Memory<BaseAddress>> : &Moves.LoadZeroExtended<WTo, WFrom, Memory<BaseAddress>>,
            AddressKind.Full => isSigned ? &Moves.LoadSignExtended<WTo, WFrom, Memory<FullAddress>> : &Moves.LoadZeroExtended<WTo, WFrom, Memory<FullAddress>>,
            AddressKind.Narrow32 => isSigned ? &Moves.LoadSignExtended<WTo, WFrom, Memory<Address32>> : &Moves.LoadZeroExtended<WTo, WFrom, Memory<Address32>>,
            _ => isSigned ? &Moves.LoadSignExtended<WTo, WFrom, Memory<Address16>> : &Moves.LoadZeroExtended<WTo, WFrom, Memory<Address16>>,
        };
    }

    public static Handler Lea(in Form f)
    {
        f.SetA(0).Op->Extra = f.Address switch { AddressKind.Narrow32 => 32, AddressKind.Narrow16 => 16, _ => 64 };
        return f.Width(0) switch { 2 => &Moves.LoadAddress<W16>, 4 => &Moves.LoadAddress<W32>, _ => &Moves.LoadAddress<W64> };
    }

    static bool IsPrefetchOfRegister(in Instruction i) => i.Op0Kind == OpKind.Register
        && i.Code is Code.Reservednop_rm16_r16_0F0D or Code.Reservednop_rm32_r32_0F0D or Code.Reservednop_rm64_r64_0F0D;

    /// <summary>F3 90 is PAUSE, but with REX.B it is no NOP: it exchanges R8 and RAX.</summary>
    static Handler XchgR8(in Form f)
    {
        bool isWide = (f.Code[f.Instruction.Length - 2] & 8) != 0;
        bool isShort = new ReadOnlySpan<byte>(f.Code, f.Instruction.Length).Contains((byte)0x66);
        f.Op->A = Form.OffsetOf(Iced.Intel.Register.R8);
        f.Op->B = Form.OffsetOf(Iced.Intel.Register.RAX);
        return isWide ? &Moves.Exchange<W64> : isShort ? &Moves.Exchange<W16> : &Moves.Exchange<W32>;
    }

    static Handler Xchg(in Form f) => f.Width(0) switch
    {
        1 => Xchg<W8>(f),
        2 => Xchg<W16>(f),
        4 => Xchg<W32>(f),
        _ => Xchg<W64>(f),
    };

    static Handler Xchg<W>(in Form f)
        where W : IWidth
    {
        f.SetB(1);
        if (f.IsMemory(0)) return f.Address switch
        {
            AddressKind.Base => &Moves.ExchangeMemory<W, BaseAddress>,
            AddressKind.Full => &Moves.ExchangeMemory<W, FullAddress>,
            AddressKind.Narrow32 => &Moves.ExchangeMemory<W, Address32>,
            _ => &Moves.ExchangeMemory<W, Address16>,
        };
        f.SetA(0);
        return &Moves.Exchange<W>;
    }

    static Handler Push(in Form f)
    {
        if (!f.IsMemory(0)) f.Op->IsStack = true;
        int width = -f.Instruction.StackPointerIncrement;
        if (f.Instruction.Op0Kind == OpKind.Register && f.Instruction.Op0Register.IsSegmentRegister())
        {
            f.Op->Extra = (byte)Form.SegmentOf(f.Instruction.Op0Register);
            return width switch { 2 => &SegmentOps.PushSegment<W16>, 4 => &SegmentOps.PushSegment<W32>, _ => &SegmentOps.PushSegment<W64> };
        }
        return width switch { 2 => Push<W16>(f), 4 => Push<W32>(f), _ => Push<W64>(f) };
    }

    static Handler Push<W>(in Form f)
        where W : IWidth => f.SetSource(0) switch
        {
            SourceKind.Register => &Moves.Push<W, Register>,
            SourceKind.Immediate => &Moves.Push<W, Immediate>,
            _ => f.Address switch
            {
                AddressKind.Base => &Moves.Push<W, Memory<BaseAddress>>,
                AddressKind.Full => &Moves.Push<W, Memory<FullAddress>>,
                AddressKind.Narrow32 => &Moves.Push<W, Memory<Address32>>,
                _ => &Moves.Push<W, Memory<Address16>>,
            },
        };

    static Handler Pop(in Form f)
    {
        if (!f.IsMemory(0)) f.Op->IsStack = true;
        int width = f.Instruction.StackPointerIncrement;
        if (f.Instruction.Op0Kind == OpKind.Register && f.Instruction.Op0Register.IsSegmentRegister())
        {
            f.Op->Extra = (byte)Form.SegmentOf(f.Instruction.Op0Register);
            return width switch { 2 => &SegmentOps.PopSegment<W16>, 4 => &SegmentOps.PopSegment<W32>, _ => &SegmentOps.PopSegment<W64> };
        }
        return width switch { 2 => Pop<W16>(f), 4 => Pop<W32>(f), _ => Pop<W64>(f) };
    }

    static Handler Pop<W>(in Form f)
        where W : IWidth
    {
        if (f.IsMemory(0)) return f.Address switch
        {
            AddressKind.Base => &Moves.PopMemory<W, BaseAddress>,
            AddressKind.Full => &Moves.PopMemory<W, FullAddress>,
            AddressKind.Narrow32 => &Moves.PopMemory<W, Address32>,
            _ => &Moves.PopMemory<W, Address16>,
        };
        f.SetA(0);
        return &Moves.Pop<W>;
    }

    static Handler Leave(in Form f)
    {
        f.Op->IsStack = true;
        return f.Instruction.Code switch { Code.Leaveq => &Moves.Leave<W64>, Code.Leaved => &Moves.Leave<W32>, _ => &Moves.Leave<W16> };
    }

    static Handler Enter(in Form f)
    {
        f.Op->IsStack = true;
        f.Op->Immediate = f.Instruction.Immediate16;
        f.Op->Extra = f.Instruction.Immediate8_2nd;
        return f.Instruction.Code switch { Code.Enterq_imm16_imm8 => &Moves.Enter<W64>, Code.Enterd_imm16_imm8 => &Moves.Enter<W32>, _ => &Moves.Enter<W16> };
    }

    interface IString
    {
        static abstract Handler Of<W, TRepeat>()
            where W : IWidth
            where TRepeat : IRepeat;
    }

    struct MoveString : IString
    {
        public static Handler Of<W, TRepeat>()
            where W : IWidth
            where TRepeat : IRepeat => &Strings.Move<W, TRepeat>;
    }

    struct FillString : IString
    {
        public static Handler Of<W, TRepeat>()
            where W : IWidth
            where TRepeat : IRepeat => &Strings.Fill<W, TRepeat>;
    }

    struct LoadString : IString
    {
        public static Handler Of<W, TRepeat>()
            where W : IWidth
            where TRepeat : IRepeat => &Strings.LoadString<W, TRepeat>;
    }

    struct CompareStrings : IString
    {
        public static Handler Of<W, TRepeat>()
            where W : IWidth
            where TRepeat : IRepeat => &Strings.Compare<W, TRepeat>;
    }

    struct ScanString : IString
    {
        public static Handler Of<W, TRepeat>()
            where W : IWidth
            where TRepeat : IRepeat => &Strings.Scan<W, TRepeat>;
    }

    struct InputString : IString
    {
        public static Handler Of<W, TRepeat>()
            where W : IWidth
            where TRepeat : IRepeat => &Strings.Input<W, TRepeat>;
    }

    struct OutputString : IString
    {
        public static Handler Of<W, TRepeat>()
            where W : IWidth
            where TRepeat : IRepeat => &Strings.Output<W, TRepeat>;
    }

    static Handler String<TBody>(in Form f)
        where TBody : IString
    {
        ref readonly Instruction i = ref f.Instruction;
        bool isLong = f.IsLong;
        OpKind kind = i.Op0Kind is >= OpKind.MemorySegSI and <= OpKind.MemoryESRDI ? i.Op0Kind : i.Op1Kind;
        f.Op->Extra = kind switch
        {
            OpKind.MemorySegRSI or OpKind.MemorySegRDI or OpKind.MemoryESRDI => 64,
            OpKind.MemorySegESI or OpKind.MemorySegEDI or OpKind.MemoryESEDI => 32,
            _ => 16,
        };
        int segment = Form.SegmentOf(i.MemorySegment == Iced.Intel.Register.None ? Iced.Intel.Register.DS : i.MemorySegment);
        f.Op->Segment = (byte)(isLong && segment is not (Segment.Fs or Segment.Gs) ? CpuState.NoSegment : segment);
        return i.MemorySize.GetSize() switch
        {
            1 => String<TBody, W8>(i),
            2 => String<TBody, W16>(i),
            4 => String<TBody, W32>(i),
            _ => String<TBody, W64>(i),
        };
    }

    static Handler String<TBody, W>(in Instruction i)
        where TBody : IString
        where W : IWidth =>
        i.HasRepnePrefix ? TBody.Of<W, RepeatWhileNotZero>() : i.HasRepPrefix ? TBody.Of<W, Repeat>() : TBody.Of<W, Once>();
}
