global using unsafe Handler = delegate*<VmLab.X86.CpuState*, VmLab.X86.Op*, VmLab.X86.Op*>;

using Iced.Intel;

namespace VmLab.X86;

enum AddressKind
{
    Base,
    Full,
    Narrow32,
    Narrow16,
}

enum SourceKind
{
    Register,
    Immediate,
    Memory,
}

/// <summary>
/// The operands of an instruction as the tables of handlers need them, with the op's fields filled in.
/// </summary>
unsafe readonly ref struct Form
{
    readonly Op* _op;

    public Form(in Instruction instruction, Op* op, byte* code, ulong blockStart, CodeMode mode, bool flagsAreDead)
    {
        FlagsAreDead = flagsAreDead;
        Code = code;
        _op = op;
        Instruction = ref instruction;
        Mode = mode;
        op->Base = op->Index = CpuState.ZeroOffset;
        op->Segment = CpuState.NoSegment;
        op->Length = (byte)instruction.Length;
        op->Offset = (ushort)(instruction.IP - blockStart);
        BlockStart = blockStart;
        for (int i = 0; i < instruction.OpCount; i++)
            if (instruction.GetOpKind(i) == OpKind.Memory) Address = SetAddress();
    }

    public readonly ref readonly Instruction Instruction;
    public readonly ulong BlockStart;

    public readonly CodeMode Mode;
    public readonly AddressKind Address;

    /// <summary>Nobody can see the arithmetic flags that the instruction leaves.</summary>
    public readonly bool FlagsAreDead;

    /// <summary>The instruction's bytes.</summary>
    public readonly byte* Code;

    /// <summary>64-bit mode.</summary>
    public bool IsLong => (Mode & CodeMode.Code64) != 0;

    public Op* Op => _op;
    public bool IsMemory(int operand) => Instruction.GetOpKind(operand) == OpKind.Memory;
    public bool IsImmediate(int operand) => Instruction.GetOpKind(operand) is >= OpKind.Immediate8 and <= OpKind.Immediate32to64;

    /// <summary>Width, in bytes, of a register or memory operand.</summary>
    public int Width(int operand) =>
        IsMemory(operand) ? Instruction.MemorySize.GetSize() : Instruction.GetOpRegister(operand).GetSize();

    public Form SetA(int operand)
    {
        _op->A = OffsetOf(Instruction.GetOpRegister(operand));
        return this;
    }

    public Form SetB(int operand)
    {
        _op->B = OffsetOf(Instruction.GetOpRegister(operand));
        return this;
    }

    /// <summary>Sets A to the offset of an XMM or MMX register among its like.</summary>
    public Form SetVectorA(int operand)
    {
        _op->A = (byte)(16 * Instruction.GetOpRegister(operand).GetNumber());
        return this;
    }

    public Form SetVectorB(int operand)
    {
        _op->B = (byte)(16 * Instruction.GetOpRegister(operand).GetNumber());
        return this;
    }

    public Form SetImmediate(int operand)
    {
        _op->Immediate = Instruction.GetImmediate(operand);
        return this;
    }

    /// <summary>Sets B or the immediate from a source operand, and says which kind it is.</summary>
    public SourceKind SetSource(int operand)
    {
        if (IsMemory(operand)) return SourceKind.Memory;
        if (IsImmediate(operand))
        {
            SetImmediate(operand);
            return SourceKind.Immediate;
        }
        SetB(operand);
        return SourceKind.Register;
    }

    /// <summary>Byte offset of a general register in the state; AH to BH lie a byte into theirs.</summary>
    public static byte OffsetOf(Iced.Intel.Register register)
    {
        if (register is >= Iced.Intel.Register.AH and <= Iced.Intel.Register.BH)
            return (byte)(8 * (register - Iced.Intel.Register.AH) + 1);
        if (register is Iced.Intel.Register.RIP or Iced.Intel.Register.EIP) return CpuState.RipOffset;
        return (byte)(8 * register.GetFullRegister().GetNumber());   // SPL to R15L count from 8 among their own
    }

    public static int SegmentOf(Iced.Intel.Register register) => register - Iced.Intel.Register.ES;

    AddressKind SetAddress()
    {
        ref readonly Instruction i = ref Instruction;
        _op->Displacement = (long)i.MemoryDisplacement64;
        Iced.Intel.Register first = i.MemoryBase, second = i.MemoryIndex;
        if (i.IsIPRelativeMemoryOperand) _op->Displacement = (long)(i.IPRelativeMemoryAddress - BlockStart);
        if (first != Iced.Intel.Register.None) _op->Base = OffsetOf(first);
        if (second == Iced.Intel.Register.AL) second = Iced.Intel.Register.None;   // XLAT adds it itself
        if (second != Iced.Intel.Register.None)
        {
            _op->Index = OffsetOf(second);
            _op->Shift = (byte)System.Numerics.BitOperations.Log2((uint)i.MemoryIndexScale);
        }
        int segment = SegmentOf(i.MemorySegment);
        bool isOther = segment is Segment.Fs or Segment.Gs;
        // CS is no writable segment, however flat.
        bool hasBase = isOther || !IsLong && ((Mode & CodeMode.Flat) == 0 || segment == Segment.Cs);
        if (hasBase) _op->Segment = (byte)segment;
        _op->IsStack = IsLong ? !isOther && IsStackPointer(first) : segment == Segment.Ss;   // 64-bit mode ignores other overrides

        int addressSize = AddressSize(i);
        if (addressSize == 2) return AddressKind.Narrow16;
        if (addressSize == 4 || !IsLong) return AddressKind.Narrow32;
        return hasBase || second != Iced.Intel.Register.None ? AddressKind.Full : AddressKind.Base;
    }

    static bool IsStackPointer(Iced.Intel.Register register) =>
        register is Iced.Intel.Register.RSP or Iced.Intel.Register.RBP or Iced.Intel.Register.ESP or Iced.Intel.Register.EBP;

    static int AddressSize(in Instruction i)
    {
        Iced.Intel.Register register = i.MemoryBase != Iced.Intel.Register.None ? i.MemoryBase : i.MemoryIndex;
        if (register == Iced.Intel.Register.EIP) return 4;
        if (register == Iced.Intel.Register.RIP) return 8;
        if (register != Iced.Intel.Register.None) return register.GetSize();
        return i.MemoryDisplSize switch { 2 => 2, 8 => 8, _ => i.CodeSize == CodeSize.Code64 ? 8 : 4 };
    }
}
