using System.Runtime.InteropServices;
using Iced.Intel;
using VmLab.Core;
using Reg = Iced.Intel.Register;

namespace VmLab.X86.Oracle;

/// <summary>Bends a drawn state to what an instruction needs to do more than fault: small counts, divisors that fit, frames to return by.</summary>
unsafe readonly ref struct OperandFit(CpuImage* image, int bitness)
{
    const ulong Middle = CaseLayout.Data + CaseLayout.PageSize;

    static readonly ushort[] s_selectors =
        [0, 1, 3, CaseLayout.FlatData, CaseLayout.FlatData, CaseLayout.FlatData, CaseLayout.Code32, CaseLayout.Code64, 0x28, 0x2A, 0x20,
            0x10, 0x18, 0x1B, 0x30];

    /// <summary>Registers, before memory operands are placed.</summary>
    public void Fit(in Instruction instruction, ref Rng rng)
    {
        bool isSmall = rng.NextBelow(2) == 0;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Loop or Mnemonic.Loope or Mnemonic.Loopne or Mnemonic.Jcxz or Mnemonic.Jecxz or Mnemonic.Jrcxz:
                if (isSmall) image->Gpr[Gpr.Rcx] &= ~0xFFFF_FFFFUL | 1;
                break;
            case Mnemonic.Div or Mnemonic.Idiv when isSmall:
                image->Gpr[Gpr.Rdx] = rng.NextBelow(3) - 1;
                image->Gpr[Gpr.Rax] &= rng.NextBelow(2) == 0 ? 0xFFF : ulong.MaxValue;
                break;
            case Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc when isSmall && instruction.Op1Kind == OpKind.Register:
                image->Gpr[instruction.Op1Register.GetNumber()] = rng.NextBelow(800) - 400;
                break;
            case Mnemonic.Pcmpestri or Mnemonic.Pcmpestrm or Mnemonic.Pcmpestri64 or Mnemonic.Pcmpestrm64 when isSmall:
                (image->Gpr[Gpr.Rax], image->Gpr[Gpr.Rdx]) = (rng.NextBelow(40) - 20, rng.NextBelow(40) - 20);
                break;
            case var mnemonic when Leeway.IsSaving(mnemonic):
                (image->Gpr[Gpr.Rax], image->Gpr[Gpr.Rdx]) = (rng.NextBelow(4), 0);
                break;
            case Mnemonic.Xgetbv or Mnemonic.Xsetbv:
                image->Gpr[Gpr.Rcx] = rng.NextBelow(3);
                break;
        }
        if (instruction.IsStringInstruction) image->Gpr[Gpr.Rcx] = rng.NextBelow(isSmall ? 6UL : 100);
        for (int i = 0; i < instruction.OpCount; i++)
            if (instruction.GetOpKind(i) == OpKind.Register && UsesSelectorOrTarget(instruction))
                SetRegister(instruction.GetOpRegister(i), SelectorOrTarget(instruction, ref rng));
        Values.Fill(new Span<ulong>(image->Memory, CaseLayout.WritableSize / 8).Slice((CaseLayout.PageSize - 128) / 8, 32), ref rng);
        FillStack(instruction, ref rng);
    }

    /// <summary>Memory operands, once they have their places.</summary>
    public void FitMemory(in Instruction instruction, ref Rng rng)
    {
        int operand = instruction.Op0Kind == OpKind.Memory ? 0 : instruction.Op1Kind == OpKind.Memory ? 1 : -1;
        if (operand < 0) return;
        ulong address = AddressOf(instruction, operand, image, bitness);
        int size = int.Max(16, int.Min(instruction.MemorySize.GetSize(), 64));
        if (address - CaseLayout.Data > (ulong)(CaseLayout.WritableSize - size)) return;
        var there = new Span<byte>(image->Memory + (address - CaseLayout.Data), (int)(CaseLayout.ReadOnlyData - address));
        for (int i = 0; i + 8 <= size; i += 8) BitConverter.TryWriteBytes(there[i..], Values.Word(ref rng));
        if (UsesSelectorOrTarget(instruction)) BitConverter.TryWriteBytes(there, SelectorOrTarget(instruction, ref rng));
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Jmp or Mnemonic.Call or Mnemonic.Lss or Mnemonic.Lds or Mnemonic.Les or Mnemonic.Lfs or Mnemonic.Lgs
                when instruction.MemorySize.GetSize() is 4 or 6 or 10 && instruction.Mnemonic is not (Mnemonic.Jmp or Mnemonic.Call)
                    || instruction.IsJmpFarIndirect || instruction.IsCallFarIndirect:
                int offset = instruction.MemorySize.GetSize() - 2;
                BitConverter.TryWriteBytes(there, CodeTarget(ref rng));
                BitConverter.TryWriteBytes(there[offset..], Selector(ref rng));
                break;
            case Mnemonic.Ldmxcsr when rng.NextBelow(4) != 0: there[2] = there[3] = 0; break;
            case Mnemonic.Fldcw or Mnemonic.Fldenv: there[0] |= 0x40; break;
            case Mnemonic.Cmpxchg when rng.NextBelow(2) == 0: image->Gpr[Gpr.Rax] = BitConverter.ToUInt64(there); break;
            case Mnemonic.Cmpxchg8b when rng.NextBelow(2) == 0:
                (image->Gpr[Gpr.Rax], image->Gpr[Gpr.Rdx]) = (BitConverter.ToUInt32(there), BitConverter.ToUInt32(there[4..]));
                break;
            case Mnemonic.Cmpxchg16b when rng.NextBelow(2) == 0:
                (image->Gpr[Gpr.Rax], image->Gpr[Gpr.Rdx]) = (BitConverter.ToUInt64(there), BitConverter.ToUInt64(there[8..]));
                break;
            case Mnemonic.Fxrstor or Mnemonic.Fxrstor64 or Mnemonic.Xrstor or Mnemonic.Xrstor64: WriteImage(there, ref rng); break;
        }
    }

    /// <summary>The linear address of a memory operand.</summary>
    public static ulong AddressOf(in Instruction instruction, int operand, CpuImage* image, int bitness)
    {
        ulong address = instruction.GetVirtualAddress(operand, 0, (register, _, _) => Read(image, register));
        return bitness == 32 ? (uint)address : address;
    }

    /// <summary>Words that a POP, a return or an IRET can use, for each width that they may have.</summary>
    void FillStack(in Instruction instruction, ref Rng rng)
    {
        ulong rsp = image->Gpr[Gpr.Rsp] - CaseLayout.Data;
        if (rsp > CaseLayout.WritableSize - 64) return;
        byte* top = image->Memory + rsp;
        int bytes = instruction.StackPointerIncrement switch { 2 or 4 or 6 => 2, _ => bitness / 8 };
        if (instruction.Mnemonic is Mnemonic.Iret or Mnemonic.Iretd or Mnemonic.Iretq or Mnemonic.Retf)
            bytes = instruction.Code switch
            {
                Code.Iretw or Code.Retfw or Code.Retfw_imm16 => 2,
                Code.Iretd or Code.Retfd or Code.Retfd_imm16 => 4,
                _ => 8,
            };
        ulong flags = rng.Next() & (Rflags.Arithmetic | Rflags.Direction | Rflags.Identification | Rflags.NestedTask | Rflags.Trap) | 0x202;
        bool returns = instruction.Mnemonic is Mnemonic.Iret or Mnemonic.Iretd or Mnemonic.Iretq or Mnemonic.Retf;
        bool isReturn = instruction.Mnemonic == Mnemonic.Ret;
        ulong[] words = returns
            ? [CodeTarget(ref rng), Selector(ref rng), flags, Middle + 8 * rng.NextBelow(8), Selector(ref rng)]
            : [isReturn ? CodeTarget(ref rng) : UsesSegment(instruction) ? Selector(ref rng) : rng.NextBelow(2) == 0 ? flags : Values.Integer(ref rng)];
        for (int i = 0; i < words.Length; i++)
            new ReadOnlySpan<byte>(BitConverter.GetBytes(words[i]), 0, bytes).CopyTo(new Span<byte>(top + i * bytes, bytes));
    }

    static bool UsesSegment(in Instruction instruction) =>
        instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsSegmentRegister();

    static bool UsesSelectorOrTarget(in Instruction instruction) =>
        instruction.Mnemonic is Mnemonic.Lar or Mnemonic.Lsl or Mnemonic.Verr or Mnemonic.Verw or Mnemonic.Jmp or Mnemonic.Call
        || instruction.Mnemonic == Mnemonic.Mov && UsesSegment(instruction);

    static ulong SelectorOrTarget(in Instruction instruction, ref Rng rng) =>
        instruction.Mnemonic is Mnemonic.Jmp or Mnemonic.Call ? CodeTarget(ref rng) : Selector(ref rng);

    static ulong CodeTarget(ref Rng rng) => rng.NextBelow(8) switch
    {
        0 => Values.Integer(ref rng),
        _ => CaseLayout.Code + rng.NextBelow(CaseLayout.CodeSize),
    };

    static ushort Selector(ref Rng rng) => s_selectors[rng.NextBelow((ulong)s_selectors.Length)];

    void SetRegister(Reg register, ulong value)
    {
        if (register.IsGPR()) image->Gpr[register.GetFullRegister().GetNumber()] = value;
    }

    void WriteImage(Span<byte> there, ref Rng rng)
    {
        if (there.Length < CpuImage.ExtendedLength) return;
        new ReadOnlySpan<byte>(image->Extended, CpuImage.ExtendedLength).CopyTo(there);
        Values.Fill(MemoryMarshal.Cast<byte, ulong>(there[32..160]), ref rng);
        const int Header = 512, HeaderEnd = 576;
        if (there.Length < HeaderEnd || rng.NextBelow(8) == 0) return;
        there[Header..HeaderEnd].Clear();
        there[Header] = (byte)rng.NextBelow(4);
        if (rng.NextBelow(2) == 0) (there[Header + 8], there[Header + 15]) = ((byte)(there[Header] | rng.NextBelow(4)), 0x80);
        if (rng.NextBelow(8) == 0) there[Header + (int)rng.NextBelow(HeaderEnd - Header)] ^= 1;
    }

    static ulong Read(CpuImage* image, Reg register)
    {
        if (register.IsSegmentRegister()) return register == Reg.FS ? image->FsBase : register == Reg.GS ? image->GsBase : 0;
        ulong value = image->Gpr[register.GetFullRegister().GetNumber()];
        return register.GetSize() switch { 1 => (byte)value, 2 => (ushort)value, 4 => (uint)value, _ => value };
    }
}
