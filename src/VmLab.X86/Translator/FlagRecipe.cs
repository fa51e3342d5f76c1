using Iced.Intel;

namespace VmLab.X86;

/// <summary>How flags are made again from what the registers have after the instruction that left them.</summary>
enum Remaking : byte
{
    None,

    /// <summary>The comparison once more.</summary>
    Compare,

    /// <summary>TEST of a logical result.</summary>
    Result,

    /// <summary>The sum or difference is undone and done once more.</summary>
    Undo,

    /// <summary>The increment or decrement is undone and done once more; the carry is in the state.</summary>
    Step,

    /// <summary>NEG, twice.</summary>
    Negate,

    /// <summary>The instruction once more, of what its target was.</summary>
    Repeat,
}

/// <param name="Index">The instruction in the block.</param>
/// <param name="Sources">Guest registers, as bits, that must be as they are.</param>
/// <param name="Kept">Operands, as bits, that <see cref="CpuState.FlagSources"/> has.</param>
/// <param name="Shape">What <see cref="Remaking.Repeat"/> encodes again.</param>
readonly record struct FlagRecipe(Remaking Kind, int Index, ushort Sources, byte Kept, Shape Shape);

// Flags are rarely looked at, and yet each access to memory could show them: so the code keeps what they were made from, and only
// the ways out make them.
sealed unsafe partial class Translator
{
    static Place FlagSource(int operand) => Place.State(StateOffset.FlagSources + 8 * operand);

    /// <summary>The recipe of an instruction's flags, if what it was given is still there.</summary>
    FlagRecipe RecipeOf(in Instruction i, Shape shape, int index)
    {
        ushort sources = (ushort)(SourceBit(i, 0) | SourceBit(i, 1));
        Remaking kind = i.Mnemonic switch
        {
            Mnemonic.Test when IsOfItself(i) => Remaking.Result,
            Mnemonic.Cmp or Mnemonic.Test => Remaking.Compare,
            Mnemonic.And or Mnemonic.Or or Mnemonic.Xor => Remaking.Result,
            Mnemonic.Add or Mnemonic.Sub => IsOfItself(i) ? Remaking.Repeat : Remaking.Undo,
            Mnemonic.Inc or Mnemonic.Dec when _flags.InState => Remaking.Step,
            Mnemonic.Neg => Remaking.Negate,
            Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar when !shape.IsMemory => Remaking.Repeat,
            Mnemonic.Imul when i.OpCount == 2 && !shape.IsMemory => Remaking.Repeat,
            _ => Remaking.None,
        };
        int kept = i.Op0Kind == OpKind.Memory ? 1 : i.Op1Kind == OpKind.Memory ? 2 : 0;
        if (kind == Remaking.Result) sources = (ushort)SourceBit(i, 0);
        if (kind == Remaking.Repeat) (sources, kept) = (IsOfItself(i) ? (ushort)0 : (ushort)SourceBit(i, 1), 1);
        return kind == Remaking.None ? default : new(kind, index, sources, (byte)kept, shape);
    }

    /// <summary>Keeps what the recipe needs of registers that are about to be written.</summary>
    void KeepSources(int written)
    {
        FlagRecipe recipe = _flags.Recipe;
        ref readonly Instruction i = ref _instructions[recipe.Index];
        int kept = recipe.Kept;
        for (int operand = 0; operand < 2; operand++)
        {
            if ((kept >> operand & 1) != 0 || (SourceBit(i, operand) & recipe.Sources & written) == 0) continue;
            _e.Store(FlagSource(operand), Borrow(Form.OffsetOf(i.GetOpRegister(operand)) >> 3, Host.R15));
            kept |= 1 << operand;
        }
        _flags = _flags with { Recipe = recipe with { Kept = (byte)kept, Sources = (ushort)(recipe.Sources & ~written) } };
    }

    static bool IsOfItself(in Instruction i) =>
        i.Op1Kind == OpKind.Register && i.Op0Kind == OpKind.Register && i.Op0Register == i.Op1Register;

    /// <summary>An operand's guest register, as a bit; 0 for anything else.</summary>
    static int SourceBit(in Instruction i, int operand) =>
        operand < i.OpCount && i.GetOpKind(operand) == OpKind.Register && i.GetOpRegister(operand).IsGPR()
            ? 1 << (Form.OffsetOf(i.GetOpRegister(operand)) >> 3) : 0;

    /// <summary>Flags that an instruction leaves on the host otherwise than in the guest.</summary>
    static RflagsBits WrongAfter(in Instruction i) => i.Mnemonic switch
    {
        Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar => CountOf(i, 1) == 1 ? RflagsBits.AF : RflagsBits.AF | RflagsBits.OF,
        Mnemonic.Imul => RflagsBits.SF | RflagsBits.ZF | RflagsBits.AF | RflagsBits.PF,
        _ => RflagsBits.None,
    };

    /// <summary>Makes the flags by the recipe: on the host, or in the state.</summary>
    void Remake()
    {
        FlagRecipe recipe = _flags.Recipe;
        ref readonly Instruction i = ref _instructions[recipe.Index];
        int bytes = recipe.Kind == Remaking.None ? 0 : WidthOf(i);
        Place scratch = Place.Register(Host.R14);
        _flags = _flags with { InHost = true, Wrong = RflagsBits.None };
        if (recipe.Kind == Remaking.Step) LoadFlags();
        if (recipe.Kind is not (Remaking.None or Remaking.Compare)) _e.Load(Host.R14, SourceOf(i, 0, recipe));
        switch (recipe.Kind)
        {
            case Remaking.Compare:
                EmitComparison(i, SourceOf(i, 0, recipe), SourceOf(i, 1, recipe));
                break;
            case Remaking.Result:
                _e.Modrm(Sized(0x84, bytes), Host.R14, scratch);
                break;
            case Remaking.Undo:
                EmitArithmetic(i.Mnemonic == Mnemonic.Add ? Operation.Sub : Operation.Add, i, bytes, SourceOf(i, 1, recipe));
                EmitArithmetic(i.Mnemonic == Mnemonic.Add ? Operation.Add : Operation.Sub, i, bytes, SourceOf(i, 1, recipe));
                break;
            case Remaking.Step:
                _e.Modrm(Sized(0xFE, bytes), i.Mnemonic == Mnemonic.Inc ? 1 : 0, scratch);
                _e.Modrm(Sized(0xFE, bytes), i.Mnemonic == Mnemonic.Inc ? 0 : 1, scratch);
                break;
            case Remaking.Negate:
                _e.Modrm(Sized(0xF6, bytes), 3, scratch);
                _e.Modrm(Sized(0xF6, bytes), 3, scratch);
                break;
            case Remaking.Repeat:
                EmitRepeated(i, recipe);
                SettleFlags(i, Host.R14, Host.R14);
                break;
            default:
                throw new InvalidOperationException($"Nothing is left to make the flags of before {_instructions[recipe.Index]}.");
        }
    }

    /// <summary>Bytes that an instruction works on.</summary>
    static int WidthOf(in Instruction i) => i.Op0Kind == OpKind.Memory ? i.MemorySize.GetSize() : i.Op0Register.GetSize();

    /// <summary>Where a recipe finds an operand that is no immediate.</summary>
    static Place SourceOf(in Instruction i, int operand, FlagRecipe recipe) =>
        IsImmediate(i, operand) ? default : (recipe.Kept >> operand & 1) != 0 ? FlagSource(operand) : PlaceOf(i, operand);

    static Place PlaceOf(in Instruction i, int operand)
    {
        int guest = Form.OffsetOf(i.GetOpRegister(operand)) >> 3, host = GuestRegister.HostOf(guest);
        return host >= 0 ? Place.Register(host) : GuestRegister.Home(guest);
    }

    /// <summary>An opcode of bytes, as it is for a width: the one behind it, with prefixes.</summary>
    static Opcode Sized(int ofBytes, int bytes) =>
        new((byte)(bytes == 1 ? ofBytes : ofBytes + 1), Prefix: bytes == 2 ? (byte)0x66 : (byte)0, IsWide: bytes == 8, IsByte: bytes == 1);

    /// <summary>An operation on R14 with an instruction's second operand.</summary>
    void EmitArithmetic(int operation, in Instruction i, int bytes, Place second)
    {
        if (IsImmediate(i, 1)) EmitOfImmediate(0x80, operation, Place.Register(Host.R14), i, bytes);
        else _e.Modrm(Sized(operation << 3 | 2, bytes), Host.R14, second);
    }

    /// <summary>CMP or TEST of operands at these places.</summary>
    void EmitComparison(in Instruction i, Place first, Place second)
    {
        int bytes = WidthOf(i);
        bool isTest = i.Mnemonic == Mnemonic.Test;
        if (IsImmediate(i, 1)) EmitOfImmediate(isTest ? 0xF6 : 0x80, isTest ? 0 : Operation.Cmp, first, i, bytes);
        else if (second.Kind == PlaceKind.Register) _e.Modrm(Sized(isTest ? 0x84 : 0x38, bytes), second.Number, first);
        else
        {
            if (first.Kind != PlaceKind.Register) _e.Load(Host.R15, first);
            _e.Modrm(Sized(isTest ? 0x84 : 0x3A, bytes), first.Kind == PlaceKind.Register ? first.Number : Host.R15, second);
        }
    }

    void EmitOfImmediate(int opcode, int extension, Place target, in Instruction i, int bytes)
    {
        _e.Modrm(Sized(opcode, bytes), extension, target);
        var value = (long)i.GetImmediate(1);
        if (bytes == 1) _e.Byte((int)value);
        else if (bytes == 2) _e.Word((int)value);
        else _e.Double(value);
    }

    static bool IsImmediate(in Instruction i, int operand) => i.GetOpKind(operand) is >= OpKind.Immediate8 and <= OpKind.Immediate32to64;

    /// <summary>An instruction of registers, with R14 for its target.</summary>
    void EmitRepeated(in Instruction i, FlagRecipe recipe)
    {
        Shape shape = recipe.Shape;
        int target = Form.OffsetOf(i.Op0Register) >> 3, source = Host.R14;
        if (i.Op1Kind == OpKind.Register && !IsOfItself(i))
        {
            Place place = SourceOf(i, 1, recipe);
            if (place.Kind != PlaceKind.Register) _e.Load(Host.R15, place);
            source = place.Kind == PlaceKind.Register ? place.Number : Host.R15;
        }
        int register = shape.Register == target ? Host.R14 : source, rm = shape.Rm == target ? Host.R14 : source;
        _e.Modrm(shape.Opcode, shape.Extension >= 0 ? shape.Extension : register, Place.Register(rm));
        EmitImmediate(shape);
    }

    /// <summary>Whether an instruction leaves none of the flags that were there.</summary>
    static bool ReplacesFlags(in Instruction i) =>
        (i.RflagsModified & AllFlags) == AllFlags && (i.RflagsRead & AllFlags) == 0 && !IsShiftByCl(i)
        && i.Mnemonic is not (Mnemonic.Div or Mnemonic.Idiv);

    /// <summary>Guest registers, as bits, that an instruction may write.</summary>
    static int WrittenBy(in Instruction i)
    {
        const int all = 0xFFFF, stack = 1 << Gpr.Rsp;
        switch (i.Mnemonic)
        {
            case Mnemonic.Cmp or Mnemonic.Test or Mnemonic.Bt or Mnemonic.Nop:
                return 0;
            case Mnemonic.Mov or Mnemonic.Movzx or Mnemonic.Movsx or Mnemonic.Movsxd or Mnemonic.Lea or Mnemonic.Add or Mnemonic.Or or Mnemonic.Adc
                or Mnemonic.Sbb or Mnemonic.And or Mnemonic.Sub or Mnemonic.Xor or Mnemonic.Inc or Mnemonic.Dec or Mnemonic.Neg or Mnemonic.Not
                or Mnemonic.Shl or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc
                or Mnemonic.Popcnt or Mnemonic.Bswap:
                return SourceBit(i, 0);
            case Mnemonic.Imul when i.OpCount > 1:
                return SourceBit(i, 0);
            case Mnemonic.Push:
                return stack;
            case Mnemonic.Pcmpistri or Mnemonic.Pcmpestri:
                return 1 << Gpr.Rcx;
            case Mnemonic.Pop:
                return stack | SourceBit(i, 0);
            default:
                bool isConditional = i.ConditionCode != ConditionCode.None && i.FlowControl == FlowControl.Next;   // CMOVcc, SETcc
                bool isVector = i.OpCount > 1 && (i.Op0Register.IsXMM() || i.Op1Register.IsXMM());
                return isConditional || isVector ? SourceBit(i, 0) : all;
        }
    }
}
