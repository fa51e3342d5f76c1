using Iced.Intel;
using VmLab.X86.Tests.Native;
using Reg = Iced.Intel.Register;

namespace VmLab.X86.Tests.Oracle;

/// <summary>Draws instructions of an encoding, with operands, registers and flags that do not fault.</summary>
/// <param name="memory">Reads a word of the memory that the instruction will find.</param>
/// <param name="isNarrow">32-bit code.</param>
sealed class CaseGenerator(Random random, Func<ulong, ulong> memory, bool isNarrow = false)
{
    const ulong NearPads = NativeCpu.CodePages + 0x7A0;   // a short branch reaches the first pads from here
    const int ReachablePads = 2;
    const ulong Writable = Rflags.Arithmetic | Rflags.Direction, Always = Rflags.Interrupt | Rflags.Fixed;

    static readonly ulong[] s_edges =
    [
        0, 1, 2, 0x7F, 0x80, 0x81, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0x8000_0000,
        0xFFFF_FFFF, 0x1_0000_0000,
        long.MaxValue, 1UL << 63, ulong.MaxValue, ulong.MaxValue - 1, 0xFFFF_FFFF_FFFF_FF80, 0xFFFF_FFFF_FFFF_8000,
        0xFFFF_FFFF_8000_0000,
    ];

    readonly CaseOperands _operands = new(random, isNarrow);

    /// <summary>Draws until a case holds.</summary>
    public OracleCase Next(Code code)
    {
        for (int attempt = 0; attempt < 10_000; attempt++)
            if (TryDraw(code) is { } found) return found;
        throw new InvalidOperationException($"No case of {code} could be drawn.");
    }

    OracleCase? TryDraw(Code code)
    {
        var gpr = new ulong[16];
        for (int i = 0; i < 16; i++) gpr[i] = Value();
        gpr[Gpr.Rsp] = NativeCpu.StackPointer - (random.Next(4) == 0 ? (ulong)random.Next(16) : 0);
        var instruction = new Instruction { Code = code };
        OpCodeInfo form = code.ToOpCode();
        for (int i = 0; i < form.OpCount; i++)
            if (!_operands.TrySet(ref instruction, i, form.GetOpKind(i), gpr)) return null;
        if (instruction.Op0Kind == OpKind.Memory && form.CanUseLockPrefix && random.Next(4) == 0)
            instruction.HasLockPrefix = true;

        var stores = new List<(ulong, ulong)>();
        if (isNarrow)
            for (int i = 0; i < 16; i++) gpr[i] = i < 8 ? (uint)gpr[i] : 0;
        if (!TryAdjust(ref instruction, gpr, stores)) return null;
        if (isNarrow)
            for (int i = 0; i < 8; i++) gpr[i] = (uint)gpr[i];
        bool isBranch = instruction.FlowControl != FlowControl.Next;
        ulong address = isBranch || random.Next(2) == 0
            ? NearPads
            : NativeCpu.CodePages + 0x1000 - (ulong)random.Next(1, 12);   // perhaps across the page boundary
        int bitness = isNarrow ? 32 : 64;
        if (Encode(instruction, address, bitness) is not { } bytes) return null;
        var decoder = Decoder.Create(bitness, bytes, address);
        Instruction decoded = decoder.Decode();
        if (decoded.Code != instruction.Code) return null;   // another encoding of the same bytes
        ulong flags = Bits() & Writable | Always;
        if (code.Mnemonic() == Mnemonic.Into) flags &= ~Rflags.Overflow;   // else it traps
        return new OracleCase(decoded, bytes, address, gpr, flags, stores);
    }

    static byte[]? Encode(in Instruction instruction, ulong address, int bitness)
    {
        var writer = new ByteWriter();
        var encoder = Encoder.Create(bitness, writer);
        bool isGood = encoder.TryEncode(instruction, address, out _, out string? error) && error is null;
        return isGood ? [.. writer.Bytes] : null;
    }

    /// <summary>Fits registers and memory to what the instruction does with them.</summary>
    /// <returns><see langword="false"/> when it would fault.</returns>
    bool TryAdjust(ref Instruction instruction, ulong[] gpr, List<(ulong, ulong)> stores)
    {
        if (instruction.IsStringInstruction)
        {
            SetString(ref instruction, gpr);
            return true;
        }
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Div or Mnemonic.Idiv: return TryFitDividend(instruction, gpr);
            case Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc: return TryFitBit(instruction, gpr);
            case Mnemonic.Cmpxchg when random.Next(2) == 0 && !Uses(instruction, Reg.RAX):
                gpr[Gpr.Rax] = OperandValue(instruction, gpr);
                return true;
            case Mnemonic.Cmpxchg16b when (EffectiveAddress(instruction, gpr) & 15) != 0: return false;
            case Mnemonic.Cmpxchg8b or Mnemonic.Cmpxchg16b when random.Next(2) == 0 && !Uses(instruction, Reg.RAX)
                && !Uses(instruction, Reg.RDX):
                ulong address = EffectiveAddress(instruction, gpr);
                int width = instruction.Mnemonic == Mnemonic.Cmpxchg16b ? 8 : 4;
                (gpr[Gpr.Rax], gpr[Gpr.Rdx]) = (memory(address), memory(address + (ulong)width));
                return true;
            case Mnemonic.Leave or Mnemonic.Enter:
                gpr[Gpr.Rbp] = NativeCpu.StackPointer + (ulong)random.Next(64);
                return true;
            case Mnemonic.Aam: return instruction.Immediate8 != 0;
            case Mnemonic.Bound:
                ulong widest = instruction.Op0Register.GetSize() == 2 ? 0x7FFF_8000UL : 0x7FFF_FFFF_8000_0000;
                stores.Add((EffectiveAddress(instruction, gpr), widest));
                return true;
            case Mnemonic.Popf or Mnemonic.Popfd or Mnemonic.Popfq:
                stores.Add((gpr[Gpr.Rsp], Bits() & (Writable | Rflags.Identification) | Always));
                return true;
            case Mnemonic.Ret: stores.Add((gpr[Gpr.Rsp], Pad())); return true;
            case Mnemonic.Jmp or Mnemonic.Call when instruction.Op0Kind == OpKind.Memory:
                stores.Add((EffectiveAddress(instruction, gpr), Pad()));
                return true;
            case Mnemonic.Jmp or Mnemonic.Call when instruction.Op0Kind == OpKind.Register:
                gpr[instruction.Op0Register.GetNumber()] = Pad();
                return true;
            case Mnemonic.Loop or Mnemonic.Loope or Mnemonic.Loopne or Mnemonic.Jrcxz
                or Mnemonic.Jecxz when random.Next(2) == 0:
                gpr[Gpr.Rcx] = gpr[Gpr.Rcx] & ~0xFFFF_FFFFUL | (uint)random.Next(3);
                return true;
            default: return true;
        }
    }

    void SetString(ref Instruction instruction, ulong[] gpr)
    {
        bool isNarrow = instruction.Op0Kind is OpKind.MemorySegESI or OpKind.MemoryESEDI
            || instruction.Op1Kind is OpKind.MemorySegESI or OpKind.MemoryESEDI;
        ulong noise = isNarrow ? Bits() << 32 : 0;
        gpr[Gpr.Rsi] = StringPointer() | noise;
        gpr[Gpr.Rdi] = (random.Next(3) == 0 ? gpr[Gpr.Rsi] + (ulong)random.Next(-9, 9) & uint.MaxValue
            : StringPointer()) | noise;   // often overlapping
        gpr[Gpr.Rcx] = (uint)random.Next(random.Next(3) == 0 ? 400 : 6) | noise;
        int prefix = random.Next(3);
        if (prefix == 1) instruction.HasRepPrefix = true;
        if (prefix == 2 && instruction.Mnemonic is Mnemonic.Cmpsb or Mnemonic.Cmpsw or Mnemonic.Cmpsd or Mnemonic.Cmpsq
            or Mnemonic.Scasb or Mnemonic.Scasw or Mnemonic.Scasd or Mnemonic.Scasq) instruction.HasRepnePrefix = true;
    }

    ulong StringPointer() => random.Next(2) == 0
        ? NativeCpu.DataPages + (ulong)random.Next(NativeCpu.DataLength / 4, NativeCpu.DataLength * 3 / 4)
        : NativeCpu.DataPages + 0x2000 + (ulong)random.Next(-20, 20);   // about to cross a page

    bool TryFitDividend(in Instruction instruction, ulong[] gpr)
    {
        int bits = 8 * (instruction.Op0Kind == OpKind.Memory ? instruction.MemorySize.GetSize()
            : instruction.Op0Register.GetSize());
        bool isSigned = instruction.Mnemonic == Mnemonic.Idiv;
        if (!Uses(instruction, Reg.RDX) && !Uses(instruction, Reg.RAX))
        {
            UInt128 divisorBits = OperandValue(instruction, gpr) & Mask(bits);
            ulong high = random.Next(3) == 0 ? 0 : divisorBits == 0 ? 0 : Value() % (ulong)divisorBits;
            if (isSigned) high = random.Next(2) == 0 ? high >> 1 : ~(high >> 1);
            if (bits == 8) gpr[Gpr.Rax] = gpr[Gpr.Rax] & ~0xFF00UL | (high & 0xFF) << 8;
            else gpr[Gpr.Rdx] = gpr[Gpr.Rdx] & ~Mask(bits) | high & Mask(bits);
        }
        ulong low = gpr[Gpr.Rax] & Mask(bits), upper = (bits == 8 ? gpr[Gpr.Rax] >> 8 : gpr[Gpr.Rdx]) & Mask(bits);
        ulong divisor = OperandValue(instruction, gpr) & Mask(bits);
        if (divisor == 0) return false;
        if (!isSigned) return upper < divisor;
        Int128 dividend = (Int128)((UInt128)upper << bits | low);
        dividend = dividend << 128 - 2 * bits >> 128 - 2 * bits;
        Int128 signedDivisor = (Int128)(UInt128)divisor << 128 - bits >> 128 - bits;
        if (signedDivisor == -1) return dividend > -((Int128)1 << bits - 1) && dividend <= (Int128)1 << bits - 1;
        Int128 quotient = dividend / signedDivisor;
        return quotient < (Int128)1 << bits - 1 && quotient >= -((Int128)1 << bits - 1);
    }

    bool TryFitBit(in Instruction instruction, ulong[] gpr)
    {
        if (instruction.Op0Kind != OpKind.Memory || instruction.Op1Kind != OpKind.Register) return true;
        int register = instruction.Op1Register.GetNumber();
        if (Uses(instruction.MemoryBase, register) || Uses(instruction.MemoryIndex, register)) return false;
        int bits = 8 * instruction.Op1Register.GetSize();
        ulong number = (ulong)(long)random.Next(-400, 400);
        gpr[register] = gpr[register] & ~Mask(bits) | number & Mask(bits);
        return true;
    }

    ulong OperandValue(in Instruction instruction, ulong[] gpr)
    {
        if (instruction.Op0Kind == OpKind.Memory) return memory(EffectiveAddress(instruction, gpr));
        Reg register = instruction.Op0Register;
        return register is >= Reg.AH and <= Reg.BH ? gpr[register - Reg.AH] >> 8
            : gpr[register.GetFullRegister().GetNumber()];
    }

    static ulong EffectiveAddress(in Instruction instruction, ulong[] gpr) =>
        instruction.GetVirtualAddress(instruction.Op0Kind == OpKind.Memory ? 0 : 1, 0, (register, _, _) =>
            register.IsSegmentRegister()
            ? 0
            : gpr[register.GetNumber()] & (register.GetSize() == 4 ? uint.MaxValue : ulong.MaxValue));

    static bool Uses(in Instruction instruction, Reg full) =>
        instruction.Op0Kind == OpKind.Register && Uses(instruction.Op0Register, full.GetNumber())
        || instruction.Op1Kind == OpKind.Register && instruction.OpCount > 1
            && Uses(instruction.Op1Register, full.GetNumber())
        || Uses(instruction.MemoryBase, full.GetNumber()) || Uses(instruction.MemoryIndex, full.GetNumber());

    static bool Uses(Reg register, int number) => register.IsGPR() && register.GetFullRegister().GetNumber() == number;

    ulong Pad() => NativeCpu.PadOf(random.Next(ReachablePads));

    ulong Bits() => (ulong)random.NextInt64();

    ulong Value() => Value(random);

    /// <summary>Half the time something at an edge, else bits of any length.</summary>
    public static ulong Value(Random random) => random.Next(2) == 0
        ? s_edges[random.Next(s_edges.Length)]
        : (ulong)random.NextInt64(long.MinValue, long.MaxValue) >> random.Next(64);

    static ulong Mask(int bits) => bits == 64 ? ulong.MaxValue : (1UL << bits) - 1;

    sealed class ByteWriter : CodeWriter
    {
        public List<byte> Bytes { get; } = [];
        public override void WriteByte(byte value) => Bytes.Add(value);
    }
}
