using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace VmLab.X86.Floating;

/// <summary>All that the x87 remembers, its registers shared with MMX.</summary>
/// <remarks>
/// The eight registers are at their physical places, R0 first (so MMi is <c>Registers[i]</c>), in the 16-byte slots
/// that FXSAVE uses; ST(i) is R((Top + i) mod 8). Source: Intel SDM vol. 1 §8.1 (environment), §9.2 (MMX), §10.5.1
/// (FXSAVE).
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
public struct X87State
{
    /// <summary>Bits of the status word beside the exceptions.</summary>
    internal const ushort StackFault = 0x0040, ErrorSummary = 0x0080, C0 = 0x0100, C1 = 0x0200, C2 = 0x0400,
                          C3 = 0x4000, Busy = 0x8000, ConditionCodes = C0 | C1 | C2 | C3;

    const int TopShift = 11;

    public X87Registers Registers;

    /// <summary>Offset of the last instruction that was not a control instruction (FIP).</summary>
    public ulong InstructionPointer;

    /// <summary>Offset of the last memory operand (FDP).</summary>
    public ulong DataPointer;

    public ushort CodeSelector, DataSelector;

    /// <summary>The low eleven bits of the last opcode: bits 2:0 of its first byte, then its second (FOP).</summary>
    public ushort Opcode;

    public ushort Control, Status;

    /// <summary>The abridged tag word: bit i is set while physical register i is in use.</summary>
    public byte Tags;

    readonly byte _padding0;
    readonly uint _padding1;

    /// <summary>As FNINIT leaves it, but for the registers' contents, here zero.</summary>
    public static X87State Initial => new() { Control = 0x037F };

    /// <summary>The physical number of ST(0): bits 13:11 of the status word.</summary>
    public int Top
    {
        readonly get => Status >> TopShift & 7;
        set => Status = (ushort)(Status & ~(7 << TopShift) | (value & 7) << TopShift);
    }

    /// <summary>
    /// An unmasked exception waits: the next waiting instruction ends in #MF (or asserts FERR#) before it does
    /// anything.
    /// </summary>
    public readonly bool HasPendingException => (Status & ErrorSummary) != 0;

    /// <summary>ST(i).</summary>
    public Float80 this[int i]
    {
        readonly get
        {
            var slot = Registers[Top + i & 7];
            return new(slot.Significand, (ushort)slot.SignExponent);
        }
        internal set
        {
            int physical = Top + i & 7;
            Registers[physical] = new(value.Significand, value.SignExponent);
            Tags |= (byte)(1 << physical);
        }
    }

    /// <summary>Whether ST(i) is empty.</summary>
    public readonly bool IsEmpty(int i) => (Tags >> (Top + i & 7) & 1) == 0;

    /// <summary>Notes an instruction's address and opcode, as each but the control instructions does.</summary>
    /// <param name="opcode">Bits 2:0 of the first byte (D8 to DF) at 10:8, the ModRM byte at 7:0.</param>
    /// <param name="offset">In real mode the linear address, for the images of that mode hold no selector.</param>
    public void RecordInstruction(ushort opcode, ushort selector, ulong offset)
    {
        Opcode = (ushort)(opcode & 0x7FF);
        CodeSelector = selector;
        InstructionPointer = offset;
    }

    /// <summary>Notes the memory operand of an instruction that has one and is not a control instruction.</summary>
    public void RecordOperand(ushort selector, ulong offset)
    {
        DataSelector = selector;
        DataPointer = offset;
    }

    internal readonly bool IsMasked(FloatExceptions exception) => (Control & (ushort)exception) != 0;

    /// <summary>Adds exceptions to the sticky flags.</summary>
    internal void Raise(FloatExceptions exceptions)
    {
        Status |= (ushort)exceptions;
        Summarize();
    }

    /// <summary>
    /// Sets the error summary, and the busy bit that mirrors it, if an exception is both flagged and unmasked.
    /// </summary>
    internal void Summarize()
    {
        bool isPending = (Status & ~Control & (ushort)FloatExceptions.All) != 0;
        Status = (ushort)(isPending ? Status | ErrorSummary | Busy : Status & ~(ErrorSummary | Busy));
    }

    internal void SetConditions(int codes, int among = ConditionCodes) => Status = (ushort)(Status & ~among | codes);
}

/// <summary>The eight physical registers R0 to R7.</summary>
[InlineArray(8)]
public struct X87Registers
{
    X87Slot _first;
}

/// <summary>One register in a slot of sixteen bytes.</summary>
/// <param name="Significand">An MMX register's 64 bits.</param>
/// <param name="SignExponent">The low 16 bits; the others are zero.</param>
public readonly record struct X87Slot(ulong Significand, ulong SignExponent);
