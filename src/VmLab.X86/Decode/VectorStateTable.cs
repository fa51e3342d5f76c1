using Iced.Intel;

namespace VmLab.X86;

/// <summary>Chooses the handler of an instruction on the vector unit's state, or of a store under a mask.</summary>
static unsafe class VectorStateTable
{
    /// <returns><see langword="null"/> when the instruction is none of these.</returns>
    public static Handler Find(in Form f) => f.Instruction.Mnemonic switch
    {
        Mnemonic.Ldmxcsr => Address<LoadControlBody>(f),
        Mnemonic.Stmxcsr => Address<StoreControlBody>(f),
        Mnemonic.Fxsave => Address<SaveBody>(f),
        Mnemonic.Fxsave64 => Address<SaveBody>(SetWide(f)),
        Mnemonic.Fxrstor => Address<RestoreBody>(f),
        Mnemonic.Fxrstor64 => Address<RestoreBody>(SetWide(f)),
        Mnemonic.Emms => &Mmx.Leave,
        Mnemonic.Maskmovdqu => Masked<StoreMaskedBody>(f),
        Mnemonic.Maskmovq => Masked<StoreMaskedMmxBody>(f),
        _ => null,
    };

    static Form SetWide(in Form f)
    {
        f.Op->Extra = 1;
        return f;
    }

    /// <summary>The address is implied: RDI, EDI or DI, and a segment.</summary>
    static Handler Masked<TBody>(in Form f)
        where TBody : IAddressBody
    {
        ref readonly Instruction i = ref f.Instruction;
        f.SetVectorA(1).SetVectorB(2);
        f.Op->Base = Form.OffsetOf(Iced.Intel.Register.RDI);
        int segment = Form.SegmentOf(i.MemorySegment);
        f.Op->Segment = (byte)(f.IsLong && segment is not (Segment.Fs or Segment.Gs) ? CpuState.NoSegment : segment);
        f.Op->IsStack = segment == Segment.Ss;
        return i.Op0Kind switch
        {
            OpKind.MemorySegRDI => TBody.Of<FullAddress>(),
            OpKind.MemorySegEDI => TBody.Of<Address32>(),
            _ => TBody.Of<Address16>(),
        };
    }

    static Handler Address<TBody>(in Form f)
        where TBody : IAddressBody => f.Address switch
        {
            AddressKind.Narrow32 => TBody.Of<Address32>(),
            AddressKind.Narrow16 => TBody.Of<Address16>(),
            _ => TBody.Of<FullAddress>(),
        };

    interface IAddressBody
    {
        static abstract Handler Of<TAddress>()
            where TAddress : IAddress;
    }

    struct LoadControlBody : IAddressBody
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SseState.LoadControl<TAddress>;
    }

    struct StoreControlBody : IAddressBody
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SseState.StoreControl<TAddress>;
    }

    struct SaveBody : IAddressBody
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SseState.Save<TAddress>;
    }

    struct RestoreBody : IAddressBody
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SseState.Restore<TAddress>;
    }

    struct StoreMaskedBody : IAddressBody
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SseState.StoreMasked<TAddress>;
    }

    struct StoreMaskedMmxBody : IAddressBody
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SseState.StoreMaskedMmx<TAddress>;
    }
}
