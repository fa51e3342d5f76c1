using Iced.Intel;

namespace VmLab.X86;

/// <summary>Finds the instructions of a block whose arithmetic flags nobody can see.</summary>
/// <remarks>
/// Flags are dead when a later instruction of the block overwrites them before any reads them and before control
/// could leave the
/// block: at a memory access (it may fault, or stop the block for a device), a branch, or anything that is no plain
/// register work.
/// </remarks>
static class FlagLiveness
{
    const RflagsBits Arithmetic = RflagsBits.OF | RflagsBits.SF | RflagsBits.ZF | RflagsBits.AF | RflagsBits.CF
        | RflagsBits.PF;

    /// <param name="areDead">Filled with a value for each instruction.</param>
    /// <param name="stops">Page offsets of breakpoints, before which all flags are seen.</param>
    /// <returns>Whether those before the first instruction are dead.</returns>
    public static bool Find(ReadOnlySpan<Instruction> instructions, Span<bool> areDead, PageOffsets stops)
    {
        RflagsBits live = Arithmetic;
        for (int i = instructions.Length - 1; i >= 0; i--)
        {
            ref readonly Instruction instruction = ref instructions[i];
            if (!IsPlain(instruction) || stops.Contains(instruction.NextIP))
            {
                live = Arithmetic;
                areDead[i] = false;
                continue;
            }
            RflagsBits written = SurelyWritten(instruction);
            areDead[i] = written != 0 && (written & live) == 0;
            live = live & ~written | instruction.RflagsRead & Arithmetic;
        }
        return live == 0 && !stops.Contains(instructions[0].IP);
    }

    /// <summary>
    /// A shift by CL may be by 0, which leaves all flags; a bit test leaves those that the manual calls undefined.
    /// </summary>
    static RflagsBits SurelyWritten(in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc => RflagsBits.CF,
        Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl
            or Mnemonic.Rcr
            or Mnemonic.Shld or Mnemonic.Shrd when instruction.GetOpKind(instruction.OpCount - 1) == OpKind.Register =>
                RflagsBits.None,
        _ => instruction.RflagsModified & Arithmetic,
    };

    /// <summary>Nothing but general registers, immediates and flags, and no way to fault.</summary>
    static bool IsPlain(in Instruction instruction)
    {
        if (instruction.FlowControl != FlowControl.Next || instruction.IsStackInstruction || instruction.IsPrivileged)
            return false;
        if (instruction.OpCount == 0 || !instruction.Op0Register.IsGPR()) return false;
        if (instruction.Mnemonic is Mnemonic.Div or Mnemonic.Idiv) return false;
        for (int i = 0; i < instruction.OpCount; i++)
        {
            OpKind kind = instruction.GetOpKind(i);
            bool isRegister = kind == OpKind.Register && instruction.GetOpRegister(i).IsGPR();
            bool isAddress = kind == OpKind.Memory && instruction.Mnemonic == Mnemonic.Lea;
            if (!isRegister && !isAddress && kind is not (>= OpKind.Immediate8 and <= OpKind.Immediate32to64))
                return false;
        }
        return true;
    }
}
