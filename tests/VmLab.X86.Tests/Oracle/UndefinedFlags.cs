using Iced.Intel;

namespace VmLab.X86.Tests.Oracle;

/// <summary>The flags that the manual leaves undefined, where the host's word does not count.</summary>
/// <remarks>
/// Source: Intel SDM vol. 2 and AMD APM vol. 3, "Flags Affected" by mnemonic:
/// <list type="bullet">
/// <item>AND, OR, XOR, TEST: AF.</item>
/// <item>SHL, SHR, SAR: nothing changes for a count of 0; else AF, and OF for a count above 1; CF of SHL and SHR for
/// a count of the width and more.</item>
/// <item>ROL, ROR, RCL, RCR: OF for a count above 1.</item>
/// <item>SHLD, SHRD: as SHL; for a count above the width everything, the result too.</item>
/// <item>MUL, IMUL: SF, ZF, AF, PF. DIV, IDIV: all six.</item>
/// <item>AAA, AAS: OF, SF, ZF, PF. DAA, DAS: OF. AAM, AAD: OF, AF, CF.</item>
/// <item>BSF, BSR: all but ZF; the target too when the source is 0. BT, BTS, BTR, BTC: all but CF and ZF.</item>
/// </list>
/// </remarks>
static class UndefinedFlags
{
    public static ulong Of(OracleCase test) => test.Instruction.Mnemonic switch
    {
        Mnemonic.And or Mnemonic.Or or Mnemonic.Xor or Mnemonic.Test => Rflags.Adjust,
        Mnemonic.Mul or Mnemonic.Imul => Rflags.Sign | Rflags.Zero | Rflags.Adjust | Rflags.Parity,
        Mnemonic.Div or Mnemonic.Idiv => Rflags.Arithmetic,
        Mnemonic.Aaa or Mnemonic.Aas => Rflags.Overflow | Rflags.Sign | Rflags.Zero | Rflags.Parity,
        Mnemonic.Daa or Mnemonic.Das => Rflags.Overflow,
        Mnemonic.Aam or Mnemonic.Aad => Rflags.Overflow | Rflags.Adjust | Rflags.Carry,
        Mnemonic.Bsf or Mnemonic.Bsr => Rflags.Arithmetic & ~Rflags.Zero,
        Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc =>
            Rflags.Overflow | Rflags.Sign | Rflags.Adjust | Rflags.Parity,
        Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Shld or Mnemonic.Shrd => OfShift(test),
        Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl or Mnemonic.Rcr => Count(test) > 1 ? Rflags.Overflow : 0,
        _ => 0,
    };

    /// <summary>Whether the manual leaves the target undefined too.</summary>
    public static bool HasUndefinedResult(OracleCase test) => test.Instruction.Mnemonic switch
    {
        Mnemonic.Shld or Mnemonic.Shrd => Count(test) > Width(test),
        Mnemonic.Bswap => Width(test) == 16,
        _ => false,
    };

    static ulong OfShift(OracleCase test)
    {
        int count = Count(test);
        if (count == 0) return 0;
        bool isDouble = test.Instruction.Mnemonic is Mnemonic.Shld or Mnemonic.Shrd;
        if (isDouble && count > Width(test)) return Rflags.Arithmetic;
        ulong undefined = Rflags.Adjust | (count > 1 ? Rflags.Overflow : 0);
        bool losesCarry = !isDouble && test.Instruction.Mnemonic != Mnemonic.Sar && count >= Width(test);
        return undefined | (losesCarry ? Rflags.Carry : 0);
    }

    static int Count(OracleCase test)
    {
        Instruction instruction = test.Instruction;
        int last = instruction.OpCount - 1;
        ulong raw = instruction.GetOpKind(last) == OpKind.Immediate8 ? instruction.Immediate8 : test.Gpr[Gpr.Rcx];
        return (int)raw & (Width(test) == 64 ? 63 : 31);
    }

    static int Width(OracleCase test) =>
        8 * (test.Instruction.Op0Kind == OpKind.Memory ? test.Instruction.MemorySize.GetSize()
            : test.Instruction.Op0Register.GetSize());
}
