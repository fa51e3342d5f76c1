using Iced.Intel;
using Reg = Iced.Intel.Register;

namespace VmLab.X86;

/// <summary>Chooses the handler of a system instruction, port access, interrupt or far transfer.</summary>
static unsafe class SystemTable
{
    /// <returns><see langword="null"/> when the instruction is none of these.</returns>
    public static Handler Find(in Form f)
    {
        ref readonly Instruction i = ref f.Instruction;
        switch (i.Mnemonic)
        {
            case Mnemonic.Hlt: return &SystemOps.Halt;
            case Mnemonic.Cpuid: return &SystemOps.Cpuid;
            case Mnemonic.Rdtsc: return &SystemOps.ReadTimeStamp;
            case Mnemonic.Rdtscp: return &SystemOps.ReadTimeStampAndAux;
            case Mnemonic.Rdpmc: return &SystemOps.ReadPerformanceCounter;
            case Mnemonic.Rdmsr: return &SystemOps.ReadMsr;
            case Mnemonic.Wrmsr: return &SystemOps.WriteMsr;
            case Mnemonic.Clts: return &SystemOps.ClearTaskSwitched;
            case Mnemonic.Swapgs: return &SegmentOps.SwapGs;
            case Mnemonic.Cli: return &SystemOps.ClearInterrupts;
            case Mnemonic.Sti: return &SystemOps.SetInterrupts;
            case Mnemonic.Clac: return &SystemOps.ClearAlignmentCheck;
            case Mnemonic.Stac: return &SystemOps.SetAlignmentCheck;
            case Mnemonic.Invlpg: return &SystemOps.InvalidatePage;
            case Mnemonic.Wbinvd or Mnemonic.Invd: return &SystemOps.InvalidateCaches;
            case Mnemonic.Syscall: return &SystemOps.SystemCall;
            case Mnemonic.Sysenter: return &SystemOps.SystemEnter;
            case Mnemonic.Sysret or Mnemonic.Sysretq: f.Op->Extra = i.Code == Code.Sysretq ? (byte)8 : (byte)4; return &SystemOps.SystemReturn;
            case Mnemonic.Sysexit or Mnemonic.Sysexitq: f.Op->Extra = i.Code == Code.Sysexitq ? (byte)8 : (byte)4; return &SystemOps.SystemExit;
            case Mnemonic.Int: f.Op->Immediate = i.Immediate8; return &SystemOps.SoftwareInterrupt;
            case Mnemonic.Int3: f.Op->Immediate = Vector.Breakpoint; return &SystemOps.SoftwareInterrupt;
            case Mnemonic.Int1: return &SystemOps.Icebp;
            case Mnemonic.Iret or Mnemonic.Iretd or Mnemonic.Iretq: return Iret(f);
            case Mnemonic.Retf: return Retf(f);
            case Mnemonic.Pushf or Mnemonic.Pushfd or Mnemonic.Pushfq:
                f.Op->IsStack = true;
                return i.StackPointerIncrement switch { -2 => &SystemOps.PushFlags<W16>, -4 => &SystemOps.PushFlags<W32>, _ => &SystemOps.PushFlags<W64> };
            case Mnemonic.Popf or Mnemonic.Popfd or Mnemonic.Popfq:
                f.Op->IsStack = true;
                return i.StackPointerIncrement switch { 2 => &SystemOps.PopFlags<W16>, 4 => &SystemOps.PopFlags<W32>, _ => &SystemOps.PopFlags<W64> };
            case Mnemonic.In: return Port(f, isIn: true);
            case Mnemonic.Out: return Port(f, isIn: false);
            case Mnemonic.Mov: return MovSpecial(f);
            case Mnemonic.Lgdt: return Table<GlobalTable>(f, isLoad: true);
            case Mnemonic.Lidt: return Table<InterruptTable>(f, isLoad: true);
            case Mnemonic.Sgdt: return Table<GlobalTable>(f, isLoad: false);
            case Mnemonic.Sidt: return Table<InterruptTable>(f, isLoad: false);
            case Mnemonic.Lldt: return Source16<LocalTableBody>(f, 0);
            case Mnemonic.Ltr: return Source16<TaskBody>(f, 0);
            case Mnemonic.Lmsw: return Source16<StatusWordBody>(f, 0);
            case Mnemonic.Smsw: return f.IsMemory(0) ? Selector<StatusWord>(f) : SetRegister(f, &SystemOps.StoreStatusWord);
            case Mnemonic.Sldt: return f.IsMemory(0) ? Selector<LocalTableSelector>(f) : SetRegister(f, &SegmentOps.StoreLocalTable);
            case Mnemonic.Str: return f.IsMemory(0) ? Selector<TaskSelector>(f) : SetRegister(f, &SegmentOps.StoreTask);
            case Mnemonic.Lar: return Inspect<LoadRights>(f);
            case Mnemonic.Lsl: return Inspect<LoadLimit>(f);
            case Mnemonic.Verr: return Source16<InspectBody<VerifyRead, W16>>(f, 0);
            case Mnemonic.Verw: return Source16<InspectBody<VerifyWrite, W16>>(f, 0);
            case Mnemonic.Invpcid: return Address<InvalidatePcidBody>(f.SetA(0));
            case Mnemonic.Clflush or Mnemonic.Clflushopt: return Address<FlushBody>(f);
            case Mnemonic.Rdrand or Mnemonic.Rdseed:
                return f.SetA(0).Width(0) switch { 2 => &SystemOps.Random<W16>, 4 => &SystemOps.Random<W32>, _ => &SystemOps.Random<W64> };
            case Mnemonic.Rdfsbase or Mnemonic.Rdgsbase or Mnemonic.Wrfsbase or Mnemonic.Wrgsbase: return SegmentBase(f);
            case Mnemonic.Jmp when i.IsJmpFarIndirect: f.Op->Extra = (byte)(i.MemorySize.GetSize() - 2); return Address<JumpFarBody>(f);
            case Mnemonic.Call when i.IsCallFarIndirect:
                f.Op->Extra = (byte)(i.MemorySize.GetSize() - 2);
                f.Op->B = IsCallOfWideStack(f) ? (byte)8 : f.Op->Extra;
                return Address<CallFarBody>(f);
            case Mnemonic.Jmp when i.IsJmpFar:
                f.Op->Immediate = i.Op0Kind == OpKind.FarBranch32 ? i.FarBranch32 : i.FarBranch16;
                f.Op->Displacement = i.FarBranchSelector;
                return &SegmentOps.JumpFarDirect;
            default: return null;
        }
    }

    /// <summary>FF /3 with REX.W: on AMD's processors the pointer stays m16:32, and only what is pushed is of 64 bits.</summary>
    static bool IsCallOfWideStack(in Form f)
    {
        int opcode = new ReadOnlySpan<byte>(f.Code, f.Instruction.Length).IndexOf((byte)0xFF);
        return f.IsLong && opcode > 0 && (f.Code[opcode - 1] & 0xF8) == 0x48;
    }

    static Handler Iret(in Form f)
    {
        f.Op->IsStack = true;
        f.Op->Extra = f.Instruction.Mnemonic switch { Mnemonic.Iretq => 8, Mnemonic.Iretd => 4, _ => 2 };
        return &SystemOps.ReturnFromInterrupt;
    }

    static Handler Retf(in Form f)
    {
        f.Op->IsStack = true;
        f.Op->Extra = f.Instruction.Code switch { Code.Retfq or Code.Retfq_imm16 => 8, Code.Retfd or Code.Retfd_imm16 => 4, _ => 2 };
        if (f.Instruction.OpCount == 1) f.Op->Immediate = f.Instruction.Immediate16;
        return &SegmentOps.ReturnFar;
    }

    static Handler Port(in Form f, bool isIn)
    {
        int portOperand = isIn ? 1 : 0;
        f.Op->Immediate = f.IsImmediate(portOperand) ? f.Instruction.Immediate8 : ulong.MaxValue;
        return f.Instruction.GetOpRegister(1 - portOperand).GetSize() switch
        {
            1 => isIn ? &SystemOps.In<W8> : &SystemOps.Out<W8>,
            2 => isIn ? &SystemOps.In<W16> : &SystemOps.Out<W16>,
            _ => isIn ? &SystemOps.In<W32> : &SystemOps.Out<W32>,
        };
    }

    /// <summary>MOV to and from control, debug and segment registers.</summary>
    static Handler MovSpecial(in Form f)
    {
        ref readonly Instruction i = ref f.Instruction;
        Reg target = i.Op0Kind == OpKind.Register ? i.Op0Register : Reg.None, source = i.Op1Kind == OpKind.Register ? i.Op1Register : Reg.None;
        if (target.IsSegmentRegister())
        {
            if (target == Reg.CS) return &SystemOps.InvalidOpcode;
            f.Op->Extra = (byte)Form.SegmentOf(target);
            return Source16<SegmentBody>(f, 1);
        }
        if (source.IsSegmentRegister())
        {
            f.Op->B = (byte)Form.SegmentOf(source);
            if (f.IsMemory(0)) return Selector<SegmentSelector>(f);
            f.SetA(0).Op->Extra = (byte)f.Width(0);
            return &SegmentOps.StoreSegment;
        }
        if (source.IsCR() || target.IsCR())
        {
            Reg control = source.IsCR() ? source : target;
            int number = control - Reg.CR0;
            if (number is not (0 or 2 or 3 or 4 or 8)) return &SystemOps.InvalidOpcode;
            f.SetA(source.IsCR() ? 0 : 1).Op->Extra = (byte)number;
            return source.IsCR() ? &SystemOps.ReadControl : &SystemOps.WriteControl;
        }
        if (!source.IsDR() && !target.IsDR()) return null;
        Reg debug = source.IsDR() ? source : target;
        if (debug - Reg.DR0 > 7) return &SystemOps.InvalidOpcode;
        f.SetA(source.IsDR() ? 0 : 1).Op->Extra = (byte)(debug - Reg.DR0);
        return source.IsDR() ? &SystemOps.ReadDebug : &SystemOps.WriteDebug;
    }

    static Handler Table<TTable>(in Form f, bool isLoad)
        where TTable : ITable
    {
        f.Op->Extra = f.IsLong ? (byte)8 : (byte)4;
        bool isNarrow = f.Instruction.Code is Code.Lgdt_m1632_16 or Code.Lidt_m1632_16;
        f.Op->Immediate = isNarrow ? 0xFF_FFFF : ulong.MaxValue;
        return isLoad ? Address<LoadTableBody<TTable>>(f) : Address<StoreTableBody<TTable>>(f);
    }

    static Handler SetRegister(in Form f, Handler handler)
    {
        f.SetA(0).Op->Extra = (byte)f.Width(0);
        return handler;
    }

    static Handler Selector<TSelector>(in Form f)
        where TSelector : ISelector => Address<SelectorBody<TSelector>>(f);

    static Handler Inspect<TKind>(in Form f)
        where TKind : IInspection => f.SetA(0).Width(0) switch
        {
            2 => Source16<InspectBody<TKind, W16>>(f, 1),
            4 => Source16<InspectBody<TKind, W32>>(f, 1),
            _ => Source16<InspectBody<TKind, W64>>(f, 1),
        };

    static Handler SegmentBase(in Form f)
    {
        Mnemonic mnemonic = f.Instruction.Mnemonic;
        f.SetA(0).Op->Extra = mnemonic is Mnemonic.Rdfsbase or Mnemonic.Wrfsbase ? (byte)Segment.Fs : (byte)Segment.Gs;
        bool isWide = f.Width(0) == 8;
        return mnemonic is Mnemonic.Rdfsbase or Mnemonic.Rdgsbase
            ? isWide ? &SegmentOps.ReadSegmentBase<W64> : &SegmentOps.ReadSegmentBase<W32>
            : isWide ? &SegmentOps.WriteSegmentBase<W64> : &SegmentOps.WriteSegmentBase<W32>;
    }

    interface ISourceBody
    {
        static abstract Handler Of<TSource>()
            where TSource : ISource;
    }

    struct LocalTableBody : ISourceBody
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SegmentOps.LoadLocalTable<TSource>;
    }

    struct StatusWordBody : ISourceBody
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SystemOps.LoadStatusWord<TSource>;
    }

    struct TaskBody : ISourceBody
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SegmentOps.LoadTask<TSource>;
    }

    struct SegmentBody : ISourceBody
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SegmentOps.LoadSegment<TSource>;
    }

    struct InspectBody<TKind, W> : ISourceBody
        where TKind : IInspection
        where W : IWidth
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &SegmentOps.Inspect<TKind, W, TSource>;
    }

    static Handler Source16<TBody>(in Form f, int operand)
        where TBody : ISourceBody => f.SetSource(operand) == SourceKind.Register
        ? TBody.Of<Register>()
        : f.Address switch
        {
            AddressKind.Narrow32 => TBody.Of<Memory<Address32>>(),
            AddressKind.Narrow16 => TBody.Of<Memory<Address16>>(),
            _ => TBody.Of<Memory<FullAddress>>(),
        };

    interface IAddressBody
    {
        static abstract Handler Of<TAddress>()
            where TAddress : IAddress;
    }

    struct LoadTableBody<TTable> : IAddressBody
        where TTable : ITable
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SegmentOps.LoadTable<TTable, TAddress>;
    }

    struct StoreTableBody<TTable> : IAddressBody
        where TTable : ITable
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SegmentOps.StoreTable<TTable, TAddress>;
    }

    struct SelectorBody<TSelector> : IAddressBody
        where TSelector : ISelector
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SegmentOps.StoreSelectorToMemory<TSelector, TAddress>;
    }

    struct InvalidatePcidBody : IAddressBody
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SystemOps.InvalidatePcid<TAddress>;
    }

    struct FlushBody : IAddressBody
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SystemOps.FlushLine<TAddress>;
    }

    struct JumpFarBody : IAddressBody
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SegmentOps.JumpFar<TAddress>;
    }

    struct CallFarBody : IAddressBody
    {
        public static Handler Of<TAddress>()
            where TAddress : IAddress => &SegmentOps.CallFar<TAddress>;
    }

    static Handler Address<TBody>(in Form f)
        where TBody : IAddressBody => f.Address switch
        {
            AddressKind.Narrow32 => TBody.Of<Address32>(),
            AddressKind.Narrow16 => TBody.Of<Address16>(),
            _ => TBody.Of<FullAddress>(),
        };
}
