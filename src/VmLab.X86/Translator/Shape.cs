using Iced.Intel;

namespace VmLab.X86;

/// <summary>How an instruction of general registers and memory is encoded, so that it can be encoded again for other registers.</summary>
/// <param name="Extension">The opcode's extension in ModRM; -1 where the reg field names a register.</param>
/// <param name="Register">The guest register of the reg field or of the opcode; -1 for none.</param>
/// <param name="Rm">The guest register of the rm field; -1 for none.</param>
/// <param name="IsShort">The register is named by the opcode; there is no ModRM.</param>
/// <param name="ImmediateBytes">0 for none.</param>
readonly record struct Shape(
    Opcode Opcode, int Extension, int Register, int Rm, bool IsShort, int ImmediateBytes, ulong Immediate,
    bool IsMemory, bool RegisterIsWritten, bool RmIsWritten)
{
    /// <returns><see langword="null"/> when it names anything else, or AH to BH, which other registers exclude.</returns>
    public static Shape? Of(in Instruction i, InstructionInfoFactory infos)
    {
        OpCodeInfo code = i.OpCode;
        if (code.OpCodeLength != 1 || code.Table > OpCodeTableKind.T0F3A || code.Encoding != EncodingKind.Legacy) return null;
        InstructionInfo info = infos.GetInfo(i);
        int register = -1, rm = -1, bytes = 0;
        bool isShort = false, isByte = false, isMemory = false, registerWritten = false, rmWritten = false;
        ulong immediate = 0;
        for (int k = 0; k < i.OpCount; k++)
        {
            bool isWritten = IsWritten(info.GetOpAccess(k));
            switch (code.GetOpKind(k))
            {
                case OpCodeOperandKind.r8_or_mem or OpCodeOperandKind.r16_or_mem or OpCodeOperandKind.r32_or_mem or OpCodeOperandKind.r64_or_mem:
                    isByte |= code.GetOpKind(k) == OpCodeOperandKind.r8_or_mem;
                    isMemory = i.GetOpKind(k) == OpKind.Memory;
                    rmWritten = isWritten;
                    if (!isMemory && !TryGuest(i.GetOpRegister(k), out rm)) return null;
                    break;
                case OpCodeOperandKind.mem:
                    isMemory = true;
                    rmWritten = isWritten;
                    break;
                case OpCodeOperandKind.r8_opcode or OpCodeOperandKind.r16_opcode or OpCodeOperandKind.r32_opcode or OpCodeOperandKind.r64_opcode
                    or OpCodeOperandKind.r8_reg or OpCodeOperandKind.r16_reg or OpCodeOperandKind.r32_reg or OpCodeOperandKind.r64_reg:
                    isByte |= code.GetOpKind(k) is OpCodeOperandKind.r8_opcode or OpCodeOperandKind.r8_reg;
                    isShort |= code.GetOpKind(k) is OpCodeOperandKind.r8_opcode or OpCodeOperandKind.r16_opcode or OpCodeOperandKind.r32_opcode
                        or OpCodeOperandKind.r64_opcode;
                    registerWritten = isWritten;
                    if (!TryGuest(i.GetOpRegister(k), out register)) return null;
                    break;
                case OpCodeOperandKind.al or OpCodeOperandKind.ax or OpCodeOperandKind.eax or OpCodeOperandKind.rax or OpCodeOperandKind.cl
                    or OpCodeOperandKind.imm8_const_1:
                    break;
                case OpCodeOperandKind.imm8 or OpCodeOperandKind.imm8sex16 or OpCodeOperandKind.imm8sex32 or OpCodeOperandKind.imm8sex64:
                    (bytes, immediate) = (1, i.GetImmediate(k));
                    break;
                case OpCodeOperandKind.imm16:
                    (bytes, immediate) = (2, i.GetImmediate(k));
                    break;
                case OpCodeOperandKind.imm32 or OpCodeOperandKind.imm32sex64:
                    (bytes, immediate) = (4, i.GetImmediate(k));
                    break;
                case OpCodeOperandKind.imm64:
                    (bytes, immediate) = (8, i.GetImmediate(k));
                    break;
                default:
                    return null;
            }
        }
        byte prefix = PrefixOf(code);
        if (code.OperandSize == 16)
        {
            if (prefix != 0) return null;
            prefix = 0x66;
        }
        byte number = (byte)(isShort ? code.OpCode & 0xF8 : code.OpCode);
        var opcode = new Opcode(number, code.Table - OpCodeTableKind.Normal, prefix, code.OperandSize == 64, isByte);
        return new Shape(
            opcode, code.IsGroup ? code.GroupIndex : -1, register, rm, isShort, bytes, immediate, isMemory, registerWritten, rmWritten);
    }

    /// <summary>The prefix that is part of the opcode; 0 for none.</summary>
    public static byte PrefixOf(OpCodeInfo code) => code.MandatoryPrefix switch
    {
        MandatoryPrefix.PF3 => 0xF3,
        MandatoryPrefix.PF2 => 0xF2,
        MandatoryPrefix.P66 => 0x66,
        _ => 0,
    };

    public static bool IsWritten(OpAccess access) =>
        access is OpAccess.Write or OpAccess.CondWrite or OpAccess.ReadWrite or OpAccess.ReadCondWrite;

    static bool TryGuest(Iced.Intel.Register register, out int guest)
    {
        int offset = Form.OffsetOf(register);
        guest = offset >> 3;
        return (offset & 7) == 0;
    }
}
