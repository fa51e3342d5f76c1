using Iced.Intel;

namespace VmLab.X86.Oracle;

/// <summary>What of a result is not compared, because the manuals leave it open, makers differ, or it is no function of the case.</summary>
/// <param name="Flags">Bits of RFLAGS.</param>
/// <param name="Registers">General registers, a bit each.</param>
/// <param name="Results">The target operand, whatever it is: memory, a register, the stack of the x87.</param>
/// <param name="Status">Bits of the x87's status word.</param>
/// <param name="FaultOrder">Which of several faults of memory comes first, and which byte of an operand a page fault names.</param>
public unsafe readonly record struct Leeway(
    ulong Flags = 0, uint Registers = 0, bool Results = false, ushort Status = 0, bool FaultOrder = false)
{
    const ulong AllButZero = Rflags.Arithmetic & ~Rflags.Zero;
    const uint Rax = 1, Rcx = 2, Rdx = 4, Rbx = 8, AllRegisters = 0xFFFF;
    const ushort C0 = 0x100, C1 = 0x200, C3 = 0x4000, OutOfRange = 0x18, Inexact = 0x20;

    /// <summary>Source: Intel SDM vol. 2 and AMD APM vol. 3, "Flags Affected" by mnemonic.</summary>
    public static Leeway Of(in Instruction instruction, in CpuImage before) => instruction.Mnemonic switch
    {
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

        // What the kernel leaves of the registers: INT 80h and the 32-bit SYSCALL have an entry of their own.
        Mnemonic.Int => new(Registers: AllRegisters),

        // Approximations: each maker has tables of its own.
        Mnemonic.Rcpps or Mnemonic.Rcpss or Mnemonic.Rsqrtps or Mnemonic.Rsqrtss => new(Results: true),
        Mnemonic.Fsin or Mnemonic.Fcos or Mnemonic.Fsincos or Mnemonic.Fptan or Mnemonic.Fpatan or Mnemonic.F2xm1 or Mnemonic.Fyl2x
            or Mnemonic.Fyl2xp1 => new(Results: true, Status: C0 | C1 | C3 | OutOfRange | Inexact),

        // AMD's leave C1 alone, Intel's clear it.
        Mnemonic.Fcomi or Mnemonic.Fcomip or Mnemonic.Fucomi or Mnemonic.Fucomip => new(Status: C1),

        // Operands that are read or written in parts, in an order of the processor's own.
        Mnemonic.Fxsave or Mnemonic.Fxsave64 or Mnemonic.Fxrstor or Mnemonic.Fxrstor64 or Mnemonic.Fldenv or Mnemonic.Fnstenv
            or Mnemonic.Fnsave or Mnemonic.Frstor => new(FaultOrder: true),
        _ when IsSaving(instruction.Mnemonic) => new(FaultOrder: true),
        Mnemonic.Cmpsb or Mnemonic.Cmpsw or Mnemonic.Cmpsd or Mnemonic.Cmpsq when instruction.IsStringInstruction => new(FaultOrder: true),
        Mnemonic.Retf or Mnemonic.Lss or Mnemonic.Lds or Mnemonic.Les or Mnemonic.Lfs or Mnemonic.Lgs => new(FaultOrder: true),
        Mnemonic.Iret or Mnemonic.Iretd or Mnemonic.Iretq => new(FaultOrder: true),
        Mnemonic.Jmp or Mnemonic.Call when instruction.IsJmpFarIndirect || instruction.IsCallFarIndirect => new(FaultOrder: true),
        Mnemonic.Call when instruction.IsCallNearIndirect => new(FaultOrder: true),
        _ when !System.Numerics.BitOperations.IsPow2(int.Max(1, instruction.MemorySize.GetSize())) => new(FaultOrder: true),
        _ => default,
    };

    /// <summary>XSAVE in all its kinds, and XRSTOR.</summary>
    public static bool IsSaving(Mnemonic mnemonic) => mnemonic is Mnemonic.Xsave or Mnemonic.Xsave64 or Mnemonic.Xsaveopt
        or Mnemonic.Xsaveopt64 or Mnemonic.Xsavec or Mnemonic.Xsavec64 or Mnemonic.Xrstor or Mnemonic.Xrstor64;

    /// <summary>What Linux answers for the processor where UMIP forbids it to a program.</summary>
    public static bool IsAnsweredByKernel(in Instruction instruction) =>
        instruction.Mnemonic is Mnemonic.Sldt or Mnemonic.Str or Mnemonic.Sgdt or Mnemonic.Sidt or Mnemonic.Smsw;

    /// <summary>Why what the host does with these bytes says nothing about ours; <see langword="null"/> where it does.</summary>
    public static string? ReasonToSkip(Case test, CpuImage* before, CpuImage* host)
    {
        Instruction instruction = test.Instruction;
        if (instruction.Mnemonic == Mnemonic.Syscall && test.Bitness == 32)
            return "Linux' entry for 32-bit code changes registers, and Intel's processors have no such SYSCALL.";
        if (instruction.Mnemonic is Mnemonic.Insb or Mnemonic.Insw or Mnemonic.Insd or Mnemonic.Outsb or Mnemonic.Outsw or Mnemonic.Outsd
            && (instruction.HasRepPrefix || instruction.HasRepnePrefix))
            return "AMD's look whether the port is allowed before they look whether the count is 0.";
        if (instruction.Mnemonic is Mnemonic.Maskmovq or Mnemonic.Maskmovdqu && host->Vector is Vector.PageFault or Vector.GeneralProtection)
            return "Whether a byte that is masked out can fault is left open.";
        if ((*(uint*)(host->Extended + 24) >> 17 & 1) != 0) return "AMD's let unaligned operands be allowed by a bit of MXCSR.";
        if (IsSaving(instruction.Mnemonic) && ((uint)before->Gpr[Gpr.Rax] > 3 || (uint)before->Gpr[Gpr.Rdx] != 0))
            return "Asks for components that only the host has.";
        if (instruction.Code == Code.Movsxd_r16_rm16 && Comparison.IsMemoryFault(host->Vector))
            return "AMD's read four bytes for the sake of two.";
        if (instruction.Mnemonic == Mnemonic.Fstpnce && !HasNumberOnTop(before))
            return "A reserved encoding, which does not look what it stores.";
        if (instruction.Mnemonic == Mnemonic.Int1)
            return "Hypervisors differ in where they say that it was.";
        if (instruction.Mnemonic is Mnemonic.Sysenter or Mnemonic.Sysexit or Mnemonic.Sysexitq)
            return "In long mode Intel's processors have it, and AMD's raise #UD.";
        if (instruction.Mnemonic is Mnemonic.Loope or Mnemonic.Loopne && test.Bytes.Any(value => value is 0xF2 or 0xF3))
            return "Reserved, and AMD's take the condition from the prefix.";
        return null;
    }

    /// <summary>
    /// An operand that wraps around a limit of 4 GiB may or may not fault. Source: Intel SDM vol. 3A §5.3.
    /// </summary>
    public static bool WrapsAtLimit(Case test, CpuImage* before, CpuImage* host, CpuImage* ours)
    {
        if (test.Bitness != 32 || host->Vector is not (Vector.GeneralProtection or Vector.StackFault)) return false;
        const ulong LastPage = uint.MaxValue - (CaseLayout.PageSize - 1);
        if (ours->Vector == Vector.PageFault && ours->Address >= LastPage) return true;
        Instruction instruction = test.Instruction;
        const uint LastOperand = uint.MaxValue - 7;
        if (instruction.IsStringInstruction)
            return (uint)host->Gpr[Gpr.Rsi] > LastOperand || (uint)host->Gpr[Gpr.Rdi] > LastOperand;
        int operand = instruction.Op0Kind == OpKind.Memory ? 0 : instruction.Op1Kind == OpKind.Memory ? 1 : -1;
        if (operand < 0) return false;
        ulong segmentBase = instruction.MemorySegment switch { Register.FS => before->FsBase, Register.GS => before->GsBase, _ => 0 };
        ulong offset = (uint)(OperandFit.AddressOf(instruction, operand, before, test.Bitness) - segmentBase);
        int size = instruction.MemorySize.GetSize();
        return offset + (ulong)(size == 0 ? CaseLayout.PageSize : size) > 1UL << 32;   // the longest have no size in the tables
    }

    /// <summary>ST(0) is in use, and of an encoding that the processor itself would write.</summary>
    static bool HasNumberOnTop(CpuImage* before)
    {
        byte* extended = before->Extended;
        int top = *(ushort*)(extended + 2) >> 11 & 7;
        bool isNormal = (extended[39] & 0x80) != 0, hasExponent = (*(ushort*)(extended + 40) & 0x7FFF) != 0;
        return (extended[4] >> top & 1) != 0 && isNormal == hasExponent;
    }

    static Leeway OfShift(in Instruction instruction, in CpuImage before)
    {
        int count = Count(instruction, before), width = Width(instruction);
        if (count == 0) return default;
        bool isDouble = instruction.Mnemonic is Mnemonic.Shld or Mnemonic.Shrd;
        if (isDouble && count > width) return new(Rflags.Arithmetic, Results: true);
        bool losesCarry = !isDouble && instruction.Mnemonic != Mnemonic.Sar && count >= width;
        return new(Rflags.Adjust | (count > 1 ? Rflags.Overflow : 0) | (losesCarry ? Rflags.Carry : 0));
    }

    static int Count(in Instruction instruction, in CpuImage before)
    {
        int last = instruction.OpCount - 1;
        ulong count = instruction.GetOpKind(last) == OpKind.Immediate8 ? instruction.Immediate8 : before.Gpr[Gpr.Rcx];
        return (int)count & (Width(instruction) == 64 ? 63 : 31);
    }

    static int Width(in Instruction instruction) => 8 * (instruction.Op0Kind == OpKind.Memory
        ? instruction.MemorySize.GetSize()
        : instruction.Op0Register.GetSize());
}
