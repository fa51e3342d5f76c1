using System.Runtime.InteropServices;
using Iced.Intel;
using VmLab.Core;
using VmLab.X86.Tests.Floating;
using Reg = Iced.Intel.Register;

namespace VmLab.X86.Tests.Sse;

/// <summary>What a vector instruction finds and leaves: registers, flags, memory, an image as of FXSAVE64.</summary>
/// <remarks>RDI points at the first 16 bytes; a trap leaves MXCSR there. Up to 64 it is the oracle's.</remarks>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct VectorState
{
    public const int RecoveryOffset = 32, GprOffset = 64, FlagsOffset = 192, MemoryOffset = 256, ImageOffset = 320;
    public const int Size = 832;
    public const int MemorySize = 64, ControlOffset = 24, MmxOffset = 32, XmmOffset = 160;

    public fixed byte Target[16];
    fixed ulong _unused[2];
    public ulong Recovery, Trapped;
    fixed ulong _reserved[2];
    public fixed ulong Gpr[16];
    public ulong Flags;
    fixed ulong _padding[7];
    public fixed byte Memory[MemorySize];
    public fixed byte Image[512];

    /// <summary>Room for one, aligned as FXSAVE needs it; free it with AlignedFree.</summary>
    public static VectorState* Allocate() => (VectorState*)NativeMemory.AlignedAlloc(Size, 64);
}

/// <summary>An instruction with its registers drawn, its bytes, and the values that it meets.</summary>
public sealed class VectorCase
{
    const int SafeFlags = 0x8D5;

    static readonly Reg[] s_general =
        [Reg.EAX, Reg.ECX, Reg.EDX, Reg.EBX, Reg.EBP, Reg.R8D, Reg.R9D, Reg.R12D, Reg.R15D];

    /// <param name="displacement">From RSI: asks for memory where there can be; else it is drawn.</param>
    public VectorCase(Code code, ref Rng rng, int? displacement = null)
    {
        var form = code.ToOpCode();
        var instruction = new Instruction { Code = code };
        for (int i = 0; i < form.OpCount; i++)
        {
            OpCodeOperandKind kind = form.GetOpKind(i);
            bool isAsked = kind == OpCodeOperandKind.mem || displacement is not null;
            bool isMemory = MayBeMemory(kind) && (isAsked || rng.NextBelow(2) == 0);
            if (isMemory) SetMemory(ref instruction, i, displacement ?? 16 * (int)rng.NextBelow(3));
            else SetOperand(ref instruction, i, kind, ref rng);
        }
        Instruction = Decoded(instruction);
    }

    VectorCase(in Instruction instruction) => Instruction = Decoded(instruction);

    public Instruction Instruction { get; }
    public byte[] Bytes => Encode(Instruction);

    public static bool MayBeMemory(OpCodeOperandKind kind) => kind is OpCodeOperandKind.mem
        or OpCodeOperandKind.xmm_or_mem or OpCodeOperandKind.mm_or_mem or OpCodeOperandKind.r32_or_mem
        or OpCodeOperandKind.r64_or_mem;

    /// <summary>The same with its memory operand elsewhere.</summary>
    public VectorCase MovedTo(int displacement)
    {
        Instruction moved = Instruction;
        int operand = Enumerable.Range(0, moved.OpCount).First(i => Instruction.GetOpKind(i) == OpKind.Memory);
        SetMemory(ref moved, operand, displacement);
        return new VectorCase(moved);
    }

    public override string ToString()
    {
        var text = new StringOutput();
        new NasmFormatter().Format(Instruction, text);
        return $"{text.ToStringAndReset()} ({Convert.ToHexString(Bytes)})";
    }

    /// <summary>Fills a state with values that instructions of this kind find interesting.</summary>
    /// <param name="mxcsr">The control register to run under.</param>
    /// <param name="hasPending">An unmasked exception of the x87 waits.</param>
    public unsafe void Fill(VectorState* state, uint mxcsr, ref Rng rng, bool hasPending = false)
    {
        *state = default;
        for (int i = 0; i < 16; i++) state->Gpr[i] = Word(ref rng);
        if (HasLengths)
            foreach (int register in (ReadOnlySpan<int>)[Gpr.Rax, Gpr.Rdx])
                if (rng.NextBelow(4) != 0) state->Gpr[register] = rng.NextBelow(40) - 20 & Mask(ref rng);
        state->Flags = rng.Next() & SafeFlags | 2;
        FillWords((ulong*)state->Target, 2, ref rng);
        FillWords((ulong*)state->Memory, VectorState.MemorySize / 8, ref rng);
        if (Instruction.Mnemonic == Mnemonic.Ldmxcsr && Instruction.MemoryDisplacement32 < VectorState.MemorySize)
            *(uint*)(state->Memory + Instruction.MemoryDisplacement32) = (uint)rng.Next() & 0xFFBF;
        byte* image = state->Image;
        *(ushort*)image = hasPending ? (ushort)0x37E : (ushort)0x37F;
        uint pending = hasPending ? 0x8081U : 0;   // IE, ES, B
        *(ushort*)(image + 2) = (ushort)(rng.Next() & 0x7F00 | pending);   // any condition codes and TOP
        image[4] = (byte)rng.Next();
        *(uint*)(image + VectorState.ControlOffset) = mxcsr;
        for (int i = 0; i < 8; i++)
        {
            FillWords((ulong*)(image + VectorState.MmxOffset + 16 * i), 1, ref rng);
            *(ushort*)(image + VectorState.MmxOffset + 16 * i + 8) = (ushort)rng.Next();
        }
        FillWords((ulong*)(image + VectorState.XmmOffset), 32, ref rng);
    }

    bool HasLengths => Instruction.Mnemonic
        is Mnemonic.Pcmpestri or Mnemonic.Pcmpestrm or Mnemonic.Pcmpestri64 or Mnemonic.Pcmpestrm64;

    static ulong Mask(ref Rng rng) => rng.NextBelow(2) == 0 ? ulong.MaxValue : uint.MaxValue;

    static unsafe void FillWords(ulong* words, int count, ref Rng rng)
    {
        int kind = (int)rng.NextBelow(8);
        for (int i = 0; i < count; i++)
        {
            if (i % 8 == 0) kind = (int)rng.NextBelow(8);   // neighbours are of a kind, or they would rarely meet
            words[i] = kind switch
            {
                0 => rng.Next(),
                1 or 2 => Numbers.Any64(ref rng),
                3 or 4 => Numbers.Any32(ref rng) | Numbers.Any32(ref rng) << 32,
                5 => Few(ref rng),
                6 => rng.Next() & 0x0303_0303_0303_0303,
                _ => Word(ref rng),
            };
        }
    }

    /// <summary>Bytes at the edges of their range.</summary>
    static ulong Few(ref Rng rng)
    {
        ReadOnlySpan<byte> edges = [0, 1, 0x7F, 0x80, 0xFF, 0xFE, 0x40];
        ulong word = 0;
        for (int i = 0; i < 8; i++) word = word << 8 | edges[(int)rng.NextBelow((ulong)edges.Length)];
        return word;
    }

    static ulong Word(ref Rng rng) => rng.NextBelow(3) switch
    {
        0 => rng.NextBelow(70),   // counts
        1 => rng.Next(),
        _ => rng.Next() >> (int)rng.NextBelow(64),
    };

    // The state behind RSI and RDI lies elsewhere in the guest than on the host: they are no operands, nor is RSP.
    static void SetOperand(ref Instruction instruction, int operand, OpCodeOperandKind kind, ref Rng rng)
    {
        switch (kind)
        {
            case OpCodeOperandKind.xmm_reg or OpCodeOperandKind.xmm_rm or OpCodeOperandKind.xmm_or_mem:
                instruction.SetOpRegister(operand, Xmm(ref rng));
                break;
            case OpCodeOperandKind.mm_reg or OpCodeOperandKind.mm_rm or OpCodeOperandKind.mm_or_mem:
                instruction.SetOpRegister(operand, Mmx(ref rng));
                break;
            case OpCodeOperandKind.r16_reg:
                instruction.SetOpRegister(operand, Reg.CX);
                break;
            case OpCodeOperandKind.r32_reg or OpCodeOperandKind.r32_rm or OpCodeOperandKind.r32_or_mem:
                instruction.SetOpRegister(operand, General(ref rng));
                break;
            case OpCodeOperandKind.r64_reg or OpCodeOperandKind.r64_rm or OpCodeOperandKind.r64_or_mem:
                instruction.SetOpRegister(operand, General(ref rng).GetFullRegister());
                break;
            case OpCodeOperandKind.imm8 when operand > 0 && instruction.GetOpKind(operand - 1) == OpKind.Immediate8:
                instruction.SetOpKind(operand, OpKind.Immediate8_2nd);
                break;
            case OpCodeOperandKind.imm8:
                instruction.SetOpKind(operand, OpKind.Immediate8);
                instruction.Immediate8 = (byte)(rng.NextBelow(2) == 0 ? rng.NextBelow(70) : rng.Next());
                break;
            case OpCodeOperandKind.seg_rDI:
                instruction.SetOpKind(operand, OpKind.MemorySegRDI);
                break;
            default: throw new NotSupportedException($"{instruction.Code} has an operand of kind {kind}.");
        }
    }

    static void SetMemory(ref Instruction instruction, int operand, int displacement)
    {
        instruction.SetOpKind(operand, OpKind.Memory);
        instruction.MemoryBase = Reg.RSI;
        instruction.MemoryDisplacement64 = (ulong)displacement;
        instruction.MemoryDisplSize = displacement < 128 ? 1 : 8;
    }

    static Reg Xmm(ref Rng rng) => Reg.XMM0 + (int)rng.NextBelow(16);
    static Reg Mmx(ref Rng rng) => Reg.MM0 + (int)rng.NextBelow(8);
    static Reg General(ref Rng rng) => s_general[(int)rng.NextBelow((ulong)s_general.Length)];

    static Instruction Decoded(in Instruction instruction)
    {
        var decoder = Decoder.Create(64, Encode(instruction));
        Instruction decoded = decoder.Decode();
        Assert.That(decoded.Code, Is.EqualTo(instruction.Code));
        return decoded;
    }

    static byte[] Encode(in Instruction instruction)
    {
        var writer = new ByteWriter();
        Encoder.Create(64, writer).Encode(instruction, 0);
        return [.. writer.Bytes];
    }

    sealed class ByteWriter : CodeWriter
    {
        public List<byte> Bytes { get; } = [];

        public override void WriteByte(byte value) => Bytes.Add(value);
    }
}
