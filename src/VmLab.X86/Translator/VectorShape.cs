using Iced.Intel;

namespace VmLab.X86;

/// <summary>How an SSE instruction is encoded; see <see cref="Shape"/>.</summary>
/// <param name="Register">Number of the XMM or guest register of the reg field; -1 for none.</param>
/// <param name="Rm">Number of the XMM or guest register of the rm field; -1 for memory.</param>
/// <param name="Immediate">-1 for none.</param>
readonly record struct VectorShape(
    Opcode Opcode, int Extension, int Register, bool RegisterIsVector, bool RegisterIsWritten,
    int Rm, bool RmIsVector, bool RmIsWritten, int Immediate)
{
    /// <returns><see langword="null"/> when it names anything but XMM registers, general ones, memory and a byte.</returns>
    public static VectorShape? Of(in Instruction i, InstructionInfoFactory infos)
    {
        OpCodeInfo code = i.OpCode;
        if (code.OpCodeLength != 1 || code.Table is < OpCodeTableKind.T0F or > OpCodeTableKind.T0F3A || code.Encoding != EncodingKind.Legacy)
            return null;
        InstructionInfo info = infos.GetInfo(i);
        var shape = new VectorShape(default, code.IsGroup ? code.GroupIndex : -1, -1, false, false, -1, false, false, -1);
        for (int k = 0; k < i.OpCount; k++)
        {
            bool isWritten = Shape.IsWritten(info.GetOpAccess(k));
            int number = i.GetOpKind(k) == OpKind.Register ? i.GetOpRegister(k).GetNumber() : -1;
            switch (code.GetOpKind(k))
            {
                case OpCodeOperandKind.xmm_reg:
                    shape = shape with { Register = number, RegisterIsVector = true, RegisterIsWritten = isWritten };
                    break;
                case OpCodeOperandKind.xmm_rm or OpCodeOperandKind.xmm_or_mem:
                    shape = shape with { Rm = number, RmIsVector = number >= 0, RmIsWritten = isWritten };
                    break;
                case OpCodeOperandKind.r32_reg or OpCodeOperandKind.r64_reg:
                    shape = shape with { Register = number, RegisterIsWritten = isWritten };
                    break;
                case OpCodeOperandKind.r32_or_mem or OpCodeOperandKind.r64_or_mem or OpCodeOperandKind.mem:
                    shape = shape with { Rm = number, RmIsWritten = isWritten };
                    break;
                case OpCodeOperandKind.imm8:
                    shape = shape with { Immediate = i.Immediate8 };
                    break;
                default:
                    return null;
            }
        }
        bool hasVector = shape.RegisterIsVector || shape.RmIsVector;
        var opcode = new Opcode((byte)code.OpCode, code.Table - OpCodeTableKind.Normal, Shape.PrefixOf(code), code.OperandSize == 64);
        return hasVector ? shape with { Opcode = opcode } : null;
    }
}
