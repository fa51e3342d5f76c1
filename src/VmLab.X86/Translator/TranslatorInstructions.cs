using Iced.Intel;

namespace VmLab.X86;

// Instructions that go on to the next: encoded again for the registers that the guest's have here.
sealed unsafe partial class Translator
{
    const RflagsBits AllFlags = RflagsBits.OF | RflagsBits.SF | RflagsBits.ZF | RflagsBits.AF | RflagsBits.CF | RflagsBits.PF;

    /// <summary>How an instruction is translated.</summary>
    enum Way : byte
    {
        Interpreted,
        Special,
        Encoded,
        Copied,
        Vector,
    }

    /// <summary>Finds how each instruction is translated, behind which the flags can still be seen, and what shares a look at the TLB.</summary>
    void Analyse(int count)
    {
        bool isNeeded = true;
        for (int k = count - 1; k >= 0; k--)
        {
            ref readonly Instruction i = ref _instructions[k];
            _ways[k] = WayOf(i, k);
            _areNeeded[k] = isNeeded;
            if (!StaysInside(i, _ways[k]) || (i.RflagsRead & AllFlags) != 0) isNeeded = true;
            else if (ReplacesFlags(i)) isNeeded = false;
        }
        FindWindows(count);
    }

    Way WayOf(in Instruction i, int index)
    {
        if (IsSpecial(i)) return Way.Special;
        if (CanReencode(i, _deadFlags[index], out _shapes[index])) return Way.Encoded;
        if (CanCopy(i, _deadFlags[index])) return Way.Copied;
        return CanEmitVector(i, out _vectorShapes[index]) ? Way.Vector : Way.Interpreted;
    }

    /// <summary>Nothing but general registers, so that it cannot be left in the middle.</summary>
    static bool StaysInside(in Instruction i, Way way)
    {
        if (i.Mnemonic is Mnemonic.Lea) return true;
        if (way is not (Way.Encoded or Way.Copied)) return false;
        for (int k = 0; k < i.OpCount; k++)
            if (i.GetOpKind(k) == OpKind.Memory) return false;
        return true;
    }

    bool TryEmit(int index)
    {
        ref readonly Instruction i = ref _instructions[index];
        if (_ways[index] == Way.Interpreted) return false;
        int written = WrittenBy(i);
        if ((_flags.Recipe.Sources & written) != 0 && _areNeeded[index] && !ReplacesFlags(i)) KeepSources(written);
        switch (_ways[index])
        {
            case Way.Special: EmitSpecial(i, _ops + index); break;
            case Way.Encoded: Reencode(i, _shapes[index], index); break;
            case Way.Copied: Copy(i, index); break;
            case Way.Vector: EmitVector(i, _vectorShapes[index], _ops + index); break;
        }
        if (_flags.Recipe.Index != index && (_flags.Recipe.Sources & written) != 0) _flags = _flags with { Recipe = default };
        return true;
    }

    bool CanReencode(in Instruction i, bool flagsAreDead, out Shape shape)
    {
        shape = default;
        if (!IsListed(i, flagsAreDead) || Shape.Of(i, _infos) is not { } found) return false;
        shape = found;
        return !shape.IsMemory || HasAddress(i);
    }

    /// <summary>Instructions that do on the host what they do in the guest, but for flags that <see cref="SettleFlags"/> settles.</summary>
    static bool IsListed(in Instruction i, bool flagsAreDead)
    {
        switch (i.Mnemonic)
        {
            case Mnemonic.Mov or Mnemonic.Movzx or Mnemonic.Movsx or Mnemonic.Movsxd or Mnemonic.Add or Mnemonic.Or or Mnemonic.Adc or Mnemonic.Sbb
                or Mnemonic.And or Mnemonic.Sub or Mnemonic.Xor or Mnemonic.Cmp or Mnemonic.Test or Mnemonic.Inc or Mnemonic.Dec or Mnemonic.Neg
                or Mnemonic.Not or Mnemonic.Bswap or Mnemonic.Xchg or Mnemonic.Xadd or Mnemonic.Cbw or Mnemonic.Cwde or Mnemonic.Cdqe
                or Mnemonic.Cwd or Mnemonic.Cdq or Mnemonic.Cqo or Mnemonic.Clc or Mnemonic.Stc or Mnemonic.Cmc or Mnemonic.Popcnt:
                return true;
            case Mnemonic.Cmpxchg:
                return i.Op0Kind == OpKind.Memory;
            case Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Rol or Mnemonic.Ror:
                return IsListedShift(i, flagsAreDead);
            case Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc:
                return i.Op0Kind == OpKind.Register || i.Op1Kind == OpKind.Immediate8;
            case Mnemonic.Imul or Mnemonic.Mul:
                return i.GetOpKind(0) == OpKind.Memory ? i.MemorySize.GetSize() > 1 : i.Op0Register.GetSize() > 1;
            case Mnemonic.Shld or Mnemonic.Shrd:
                return flagsAreDead && i.Op0Register.GetSize() >= 4 && i.Op2Kind == OpKind.Immediate8 && CountOf(i, 2) != 0;
            default:
                return i.ConditionCode != ConditionCode.None && i.FlowControl == FlowControl.Next;   // CMOVcc, SETcc
        }
    }

    static bool IsListedShift(in Instruction i, bool flagsAreDead)
    {
        int bytes = i.Op0Kind == OpKind.Memory ? i.MemorySize.GetSize() : i.Op0Register.GetSize();
        bool isRotation = i.Mnemonic is Mnemonic.Rol or Mnemonic.Ror, isRegister = i.Op0Kind == OpKind.Register;
        if (i.Op1Kind == OpKind.Register)   // by CL
        {
            int guest = isRegister ? Form.OffsetOf(i.Op0Register) >> 3 : -1;
            return bytes >= 4 && isRegister && guest != Gpr.Rcx && GuestRegister.HostOf(guest) >= 0;
        }
        int count = CountOf(i, 1);
        if (count == 0 || count > 8 * bytes || (isRotation && count == 8 * bytes)) return false;
        return !isRotation || flagsAreDead || count == 1 || isRegister;
    }

    /// <summary>A shift's count, masked as the processor does.</summary>
    static int CountOf(in Instruction i, int operand)
    {
        int bytes = i.Op0Kind == OpKind.Memory ? i.MemorySize.GetSize() : i.Op0Register.GetSize();
        return (int)i.GetImmediate(operand) & (bytes == 8 ? 63 : 31);
    }

    void Reencode(in Instruction i, Shape shape, int index)
    {
        RflagsBits modified = i.RflagsModified & AllFlags, read = i.RflagsRead & AllFlags;
        bool isByCl = IsShiftByCl(i), isStep = i.Mnemonic is Mnemonic.Inc or Mnemonic.Dec, isNeeded = modified != 0 && _areNeeded[index];
        bool keepsAll = isNeeded && isByCl, keepsSome = isNeeded && modified != AllFlags;
        if (keepsSome && isStep && !_flags.InState && !_flags.IsComplete) Remake();
        if (keepsAll || shape.IsMemory && (keepsSome || read != 0)) SaveFlags();
        if (shape.IsMemory) EmitAccess(i, shape.RmIsWritten ? WriteTag : ReadTag, i.MemorySize.GetSize(), _ops + index);
        bool isPartial = keepsSome && isStep && _flags.InState && !_flags.IsComplete;
        if (keepsSome && !isPartial || keepsAll) RestoreFlags();
        else if (read != 0) RestoreFlags(read);
        if (isByCl) _e.Modrm(new(0x8B), Host.R14, Place.Register(Host.Rcx));

        FlagRecipe recipe = isNeeded && !isByCl ? RecipeOf(i, shape, index) : default;
        bool isKept = shape.IsMemory && recipe.Kind != Remaking.None && (recipe.Kind != Remaking.Result || shape.RmIsWritten);
        if (isKept) EmitOfMemory(i, shape, recipe);
        else EmitShape(i, shape, recipe);
        if (modified == 0) return;
        _flags = FlagTracker.Fresh with { Recipe = recipe };
        if (recipe.Kind == Remaking.Repeat) _flags = _flags with { Wrong = WrongAfter(i) };
        else if (isPartial) _flags = _flags with { Wrong = RflagsBits.CF };
        else if (isNeeded && (isByCl || !_deadFlags[index])) SettleFlags(i, RegisterOf(shape.Rm, Host.R14), RegisterOf(shape.Register, Host.R15));
    }

    /// <summary>The host's register for a guest's.</summary>
    /// <param name="scratch">For one that has none.</param>
    static int RegisterOf(int guest, int scratch) =>
        guest < 0 ? -1 : GuestRegister.HostOf(guest) is >= 0 and var host ? host : scratch;

    /// <summary>Encodes an instruction again.</summary>
    void EmitShape(in Instruction i, Shape shape, FlagRecipe recipe)
    {
        bool isKept = recipe.Kind == Remaking.Repeat, isFresh = IsFresh(i);
        int register = Borrow(shape.Register, Host.R15, mustLoad: !(isFresh && shape.RegisterIsWritten));
        bool isAtHome = !isKept && MayStayHome(i, shape);
        int rm = shape.IsMemory || isAtHome ? -1 : Borrow(shape.Rm, Host.R14, mustLoad: !(isFresh && shape.RmIsWritten));
        int field = shape.Extension >= 0 ? shape.Extension : Math.Max(register, 0);
        if (isKept) _e.Store(FlagSource(0), shape.RmIsWritten ? rm : register);
        if (shape.IsShort) _e.Short(shape.Opcode, register);
        else if (shape.IsMemory) _e.Modrm(shape.Opcode, field, _operand);
        else if (isAtHome) _e.Modrm(shape.Opcode, field, GuestRegister.Home(shape.Rm));
        else if (rm >= 0) _e.Modrm(shape.Opcode, field, Place.Register(rm));
        else EmitBare(shape.Opcode);
        EmitImmediate(shape);
        if (shape.RegisterIsWritten) GiveBack(shape.Register, register);
        if (shape.RmIsWritten && rm >= 0) GiveBack(shape.Rm, rm);
    }

    /// <summary>Whether nothing is left of what the target was.</summary>
    static bool IsFresh(in Instruction i) =>
        i.Mnemonic is Mnemonic.Mov or Mnemonic.Movzx or Mnemonic.Movsx or Mnemonic.Movsxd
        && i.Op0Kind == OpKind.Register && i.Op0Register.GetSize() >= 4;

    /// <summary>Whether a guest register that has none of the host can be named where the state has it.</summary>
    static bool MayStayHome(in Instruction i, Shape shape)
    {
        if (shape.IsMemory || shape.Rm < 0 || GuestRegister.HostOf(shape.Rm) >= 0) return false;
        if (IsShift(i) || i.Mnemonic is Mnemonic.Imul or Mnemonic.Mul or Mnemonic.Xchg) return false;   // the host's register is needed, or faster
        return !shape.RmIsWritten || WidthOf(i) == 8;
    }

    /// <summary>An instruction whose operand in memory is kept so that the flags can be made again.</summary>
    void EmitOfMemory(in Instruction i, Shape shape, FlagRecipe recipe)
    {
        int bytes = WidthOf(i);
        if (i.Op0Kind == OpKind.Memory && recipe.Kind != Remaking.Compare)
        {
            EmitShape(i, shape, recipe);
            EmitWidened(bytes, operand: 0);
            return;
        }
        bool isFirst = i.Op0Kind == OpKind.Memory;
        EmitWidened(bytes, isFirst ? 0 : 1);
        if (recipe.Kind == Remaking.Compare)
        {
            Place memory = Place.Register(Host.R14);
            EmitComparison(i, isFirst ? memory : PlaceOf(i, 0), isFirst && IsImmediate(i, 1) ? default : isFirst ? PlaceOf(i, 1) : memory);
            return;
        }
        int register = Borrow(shape.Register, Host.R15);
        _e.Modrm(shape.Opcode, register, Place.Register(Host.R14));
        GiveBack(shape.Register, register);
    }

    /// <summary>Loads the operand in memory into R14 and keeps it; the flags stay.</summary>
    void EmitWidened(int bytes, int operand)
    {
        Opcode load = bytes switch { 1 => new(0xB6, Map: 1), 2 => new(0xB7, Map: 1), 4 => new(0x8B), _ => new(0x8B, IsWide: true) };
        _e.Modrm(load, Host.R14, _operand);
        _e.Store(FlagSource(operand), Host.R14);
    }

    /// <summary>An instruction of AH to BH and other registers that are here what they are in the guest.</summary>
    static bool CanCopy(in Instruction i, bool flagsAreDead)
    {
        if (!IsListed(i, flagsAreDead) || i.Mnemonic is Mnemonic.Imul or Mnemonic.Mul || IsShift(i)) return false;
        for (int k = 0; k < i.OpCount; k++)
        {
            if (i.GetOpKind(k) == OpKind.Memory) return false;
            if (i.GetOpKind(k) == OpKind.Register && !IsSame(i.GetOpRegister(k))) return false;
        }
        return true;
    }

    static bool IsSame(Iced.Intel.Register register) =>
        register.IsGPR() && Form.OffsetOf(register) >> 3 is < Gpr.R8 and not Gpr.Rsp;

    void Copy(in Instruction i, int index)
    {
        RflagsBits modified = i.RflagsModified & AllFlags, read = i.RflagsRead & AllFlags;
        if (modified != 0 && modified != AllFlags && _areNeeded[index]) RestoreFlags();
        else if (read != 0) RestoreFlags(read);
        byte* bytes = _code + (i.IP - _blockStart);
        for (int k = 0; k < i.Length; k++) _e.Byte(bytes[k]);
        if (modified != 0) _flags = FlagTracker.Fresh;
    }

    void EmitBare(Opcode opcode)
    {
        if (opcode.Prefix != 0) _e.Byte(opcode.Prefix);
        if (opcode.IsWide) _e.Byte(0x48);
        _e.Byte(opcode.Code);
    }

    void EmitImmediate(Shape shape)
    {
        switch (shape.ImmediateBytes)
        {
            case 1: _e.Byte((int)shape.Immediate); break;
            case 2: _e.Word((int)shape.Immediate); break;
            case 4: _e.Double((long)shape.Immediate); break;
            case 8: _e.Quad(shape.Immediate); break;
        }
    }

    /// <summary>The host's register for a guest's, which is loaded into a scratch register where it has none.</summary>
    int Borrow(int guest, int scratch, bool mustLoad = true)
    {
        int host = RegisterOf(guest, scratch);
        if (host == scratch && mustLoad) _e.Load(scratch, GuestRegister.Home(guest));
        return host;
    }

    void GiveBack(int guest, int host)
    {
        if (guest >= 0 && GuestRegister.HostOf(guest) < 0) _e.Store(GuestRegister.Home(guest), host);
    }

    /// <summary>Instructions that are built anew.</summary>
    static bool IsSpecial(in Instruction i) => i.Code switch
    {
        Code.Lea_r32_m or Code.Lea_r64_m => HasAddress(i),
        Code.Push_r64 or Code.Pushq_imm8 or Code.Pushq_imm32 or Code.Pop_r64 or Code.Leaveq or Code.Endbr64 => true,
        Code.Bsf_r32_rm32 or Code.Bsf_r64_rm64 or Code.Bsr_r32_rm32 or Code.Bsr_r64_rm64 =>
            GuestRegister.HostOf(Form.OffsetOf(i.Op0Register) >> 3) >= 0 && (i.Op1Kind == OpKind.Register || HasAddress(i)),
        Code.Div_rm32 or Code.Div_rm64 or Code.Idiv_rm32 or Code.Idiv_rm64 => i.Op0Kind == OpKind.Register || HasAddress(i),
        _ => IsNothing(i) || IsBitOfArray(i) || IsSystem(i),
    };

    static bool IsNothing(in Instruction i) => i.Mnemonic switch
    {
        Mnemonic.Nop or Mnemonic.Lfence or Mnemonic.Mfence or Mnemonic.Sfence => true,
        Mnemonic.Reservednop => i.Op0Kind == OpKind.Memory,
        Mnemonic.Pause => i.Length == 2,   // with a prefix more it may be XCHG R8, RAX
        _ => false,
    };

    /// <summary>BT and its like of memory, where a register's bit number reaches beyond the operand.</summary>
    static bool IsBitOfArray(in Instruction i) =>
        i.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc && i.Op0Kind == OpKind.Memory
        && i.Op1Kind == OpKind.Register && i.Op1Register.GetSize() >= 4 && HasAddress(i);

    void EmitSpecial(in Instruction i, Op* op)
    {
        switch (i.Mnemonic)
        {
            case Mnemonic.Lea: EmitLea(i); break;
            case Mnemonic.Push: EmitPush(i, op); break;
            case Mnemonic.Pop: EmitPop(i, op); break;
            case Mnemonic.Leave: EmitLeave(op); break;
            case Mnemonic.Bsf or Mnemonic.Bsr: EmitBitScan(i, op); break;
            case Mnemonic.Div or Mnemonic.Idiv: EmitDivision(i, op); break;
            case Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc: EmitBitOfArray(i, op); break;
            default: EmitSystem(i, op); break;
        }
    }

    void EmitLea(in Instruction i)
    {
        int guest = Form.OffsetOf(i.Op0Register) >> 3, host = GuestRegister.HostOf(guest);
        EmitAddress(Window.Of(i, isWritten: false), host >= 0 ? host : Host.R14, isWide: i.Op0Register.GetSize() == 8);
        GiveBack(guest, Host.R14);
    }

    /// <summary>Loads a source of 4 or 8 bytes into R14.</summary>
    void EmitSource(in Instruction i, int operand, bool isWide, Op* op)
    {
        var load = new Opcode(0x8B, IsWide: isWide);
        if (i.GetOpKind(operand) == OpKind.Memory)
        {
            EmitAccess(i, ReadTag, isWide ? 8 : 4, op);
            _e.Modrm(load, Host.R14, _operand);
            return;
        }
        int guest = Form.OffsetOf(i.GetOpRegister(operand)) >> 3, host = GuestRegister.HostOf(guest);
        _e.Modrm(load, Host.R14, host >= 0 ? Place.Register(host) : GuestRegister.Home(guest));
    }

    /// <summary>BSF and BSR: of nothing they leave their target; all flags but ZF are clear.</summary>
    void EmitBitScan(in Instruction i, Op* op)
    {
        bool isWide = i.Op0Register.GetSize() == 8;
        const int zeroFlag = 14;   // in HostFlags
        EmitSource(i, 1, isWide, op);
        _e.Modrm(new(0x85, IsWide: isWide), Host.R14, Place.Register(Host.R14));                       // TEST
        _e.Modrm(new(0x94, Map: 1, IsByte: true), 0, Place.State(StateOffset.SpillFlags));             // SETZ
        byte* isZero = _e.JumpIf(Condition.Equal);
        byte opcode = i.Mnemonic == Mnemonic.Bsf ? (byte)0xBC : (byte)0xBD;
        _e.Modrm(new(opcode, Map: 1, IsWide: isWide), GuestRegister.HostOf(Form.OffsetOf(i.Op0Register) >> 3), Place.Register(Host.R14));
        _e.Land(isZero);
        _e.Modrm(new(0xB6, Map: 1), Host.R15, Place.State(StateOffset.SpillFlags));                    // MOVZX
        _e.Modrm(new(0xC1), 4, Place.Register(Host.R15));                                              // SHL
        _e.Byte(zeroFlag);
        _e.Modrm(new(0x89, Prefix: 0x66), Host.R15, HostFlags);
        _flags = FlagTracker.AtBoundary;
    }

    void EmitBitOfArray(in Instruction i, Op* op)
    {
        bool isWide = i.Op1Register.GetSize() == 8;
        int guest = Form.OffsetOf(i.Op1Register) >> 3;
        Place number = GuestRegister.HostOf(guest) is >= 0 and var host ? Place.Register(host) : GuestRegister.Home(guest);
        SaveFlags();
        EmitLinear(Window.Of(i, isWritten: false));
        _e.Modrm(new(isWide ? (byte)0x8B : (byte)0x63, IsWide: true), Host.R15, number);               // MOV or MOVSXD
        _e.Modrm(new(0xC1, IsWide: true), 7, Place.Register(Host.R15));                                // SAR
        _e.Byte(isWide ? 6 : 5);
        _e.Lea(Host.R14, Host.R14, Host.R15, isWide ? 3 : 2, 0);
        EmitLookup(i.Mnemonic == Mnemonic.Bt ? ReadTag : WriteTag, isWide ? 8 : 4, op);
        _e.Modrm(new(0x8B), Host.R15, number);
        _e.Immediate(Operation.And, Place.Register(Host.R15), isWide ? 63 : 31, isWide: false);
        _e.Store(Place.State(StateOffset.Spill), Host.R15);
        RestoreFlags();
        _e.Load(Host.R15, Place.State(StateOffset.Spill));
        byte opcode = i.Mnemonic switch { Mnemonic.Bt => 0xA3, Mnemonic.Bts => 0xAB, Mnemonic.Btr => 0xB3, _ => 0xBB };
        _e.Modrm(new(opcode, Map: 1, IsWide: isWide), Host.R15, Place.At(Host.R14));
        _flags = FlagTracker.Fresh;
    }

    /// <summary>DIV and IDIV where the quotient surely fits; the interpreter does the others. The flags stay.</summary>
    void EmitDivision(in Instruction i, Op* op)
    {
        bool isWide = (i.Op0Kind == OpKind.Memory ? i.MemorySize.GetSize() : i.Op0Register.GetSize()) == 8;
        bool isSigned = i.Mnemonic == Mnemonic.Idiv;
        Place divisor = Place.Register(Host.R14);
        GuardFlags();
        EmitSource(i, 0, isWide, op);
        _flags = _flags.Clobbered;
        if (isSigned)
        {
            _e.Modrm(new(0x8B, IsWide: isWide), Host.R15, Place.Register(Host.Rax));
            _e.Modrm(new(0xC1, IsWide: isWide), 7, Place.Register(Host.R15));                          // SAR
            _e.Byte(isWide ? 63 : 31);
            _e.Modrm(new(0x3B, IsWide: isWide), Host.R15, Place.Register(Host.Rdx));
            ExitIf(Condition.NotEqual, op);
            _e.Lea(Host.R15, Host.R14, -1, 0, 1, isWide);
            _e.Immediate(Operation.Cmp, Place.Register(Host.R15), 1, isWide);                         // 0 for -1, 1 for 0
            ExitIf(Condition.BelowOrEqual, op);
        }
        else
        {
            _e.Modrm(new(0x3B, IsWide: isWide), Host.Rdx, divisor);
            ExitIf(Condition.AboveOrEqual, op);
        }
        _e.Modrm(new(0xF7, IsWide: isWide), isSigned ? 7 : 6, divisor);
    }
}
