using Iced.Intel;

namespace VmLab.X86.Oracle;

/// <summary>What of a result is not compared, because the manuals leave it open, makers differ, or it is no function of the case.</summary>
/// <param name="Flags">Bits of RFLAGS.</param>
/// <param name="Registers">General registers, a bit each.</param>
/// <param name="Results">The target operand, whatever it is: memory, a register, the stack of the x87.</param>
/// <param name="Status">Bits of the x87's status word.</param>
public readonly record struct Leeway(ulong Flags = 0, uint Registers = 0, bool Results = false, ushort Status = 0)
{
    const ulong AllButZero = Rflags.Arithmetic & ~Rflags.Zero;
    const uint Rax = 1, Rcx = 2, Rdx = 4, Rbx = 8;
    const ushort C0 = 0x100, C1 = 0x200, C2 = 0x400, C3 = 0x4000;

    /// <summary>Source: Intel SDM vol. 2 and AMD APM vol. 3, "Flags Affected" by mnemonic.</summary>
    public static Leeway Of(in Instruction instruction, in CpuImage before) => instruction.Mnemonic switch
    {
        // AF.
        Mnemonic.And or Mnemonic.Or or Mnemonic.Xor or Mnemonic.Test => new(Rflags.Adjust),
        Mnemonic.Mul or Mnemonic.Imul => new(Rflags.Sign | Rflags.Zero | Rflags.Adjust | Rflags.Parity),
        Mnemonic.Div or Mnemonic.Idiv => new(Rflags.Arithmetic),
        Mnemonic.Aaa or Mnemonic.Aas => new(Rflags.Overflow | Rflags.Sign | Rflags.Zero | Rflags.Parity),
        Mnemonic.Daa or Mnemonic.Das => new(Rflags.Overflow),
        Mnemonic.Aam or Mnemonic.Aad => new(Rflags.Overflow | Rflags.Adjust | Rflags.Carry),
        Mnemonic.Bsf or Mnemonic.Bsr => new(AllButZero),
        Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc =>
            new(Rflags.Overflow | Rflags.Sign | Rflags.Adjust | Rflags.Parity),
        Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Shld or Mnemonic.Shrd => OfShift(instruction, before),
        Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl or Mnemonic.Rcr =>
            new(Count(instruction, before) > 1 ? Rflags.Overflow : 0),
        Mnemonic.Bswap when Width(instruction) == 16 => new(Results: true),

        // The machine's own: time, chance, identity.
        Mnemonic.Cpuid => new(Registers: Rax | Rbx | Rcx | Rdx),
        Mnemonic.Rdtsc => new(Registers: Rax | Rdx),
        Mnemonic.Rdtscp => new(Registers: Rax | Rcx | Rdx),
        Mnemonic.Xgetbv => new(Registers: Rax | Rdx),
        Mnemonic.Rdrand or Mnemonic.Rdseed => new(Rflags.Carry, Results: true),

        // Approximations: each maker has tables of its own.
        Mnemonic.Rcpps or Mnemonic.Rcpss or Mnemonic.Rsqrtps or Mnemonic.Rsqrtss => new(Results: true),
        Mnemonic.Fsin or Mnemonic.Fcos or Mnemonic.Fsincos or Mnemonic.Fptan or Mnemonic.Fpatan or Mnemonic.F2xm1 or Mnemonic.Fyl2x
            or Mnemonic.Fyl2xp1 => new(Results: true, Status: C0 | C1 | C3 | 0x30),
        _ => default,
    };

    static Leeway OfShift(in Instruction instruction, in CpuImage before)
    {
        int count = Count(instruction, before), width = Width(instruction);
        if (count == 0) return default;
        bool isDouble = instruction.Mnemonic is Mnemonic.Shld or Mnemonic.Shrd;
        if (isDouble && count > width) return new(Rflags.Arithmetic, Results: true);
        bool losesCarry = !isDouble && instruction.Mnemonic != Mnemonic.Sar && count >= width;
        return new(Rflags.Adjust | (count > 1 ? Rflags.Overflow : 0) | (losesCarry ? Rflags.Carry : 0));
    }

    static unsafe int Count(in Instruction instruction, in CpuImage before)
    {
        int last = instruction.OpCount - 1;
        ulong count = instruction.GetOpKind(last) == OpKind.Immediate8 ? instruction.Immediate8 : before.Gpr[Gpr.Rcx];
        return (int)count & (Width(instruction) == 64 ? 63 : 31);
    }

    static int Width(in Instruction instruction) => 8 * (instruction.Op0Kind == OpKind.Memory
        ? instruction.MemorySize.GetSize()
        : instruction.Op0Register.GetSize());
}
