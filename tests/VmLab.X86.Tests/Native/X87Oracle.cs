using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Native;

/// <summary>One x87 instruction on the host's processor, from one whole state to another.</summary>
public sealed class X87Oracle : IDisposable
{
    public const int ImageSize = 108;

    const int AfterOffset = 112, OperandOffset = 224, ResultOffset = 240;

    readonly NativeCode _code;

    /// <param name="instruction">
    /// Writes the instruction: RSI points to 16 bytes of memory operand; AX may be given a result.
    /// </param>
    public X87Oracle(Action<Assembler> instruction) => _code = new NativeCode(code =>
    {
        code.lea(rsi, __qword_ptr[rdi + OperandOffset]);
        code.xor(eax, eax);
        code.frstor(__[rdi]);
        instruction(code);
        code.mov(__qword_ptr[rdi + ResultOffset], rax);
        code.fnsave(__[rdi + AfterOffset]);
        code.ret();
    });

    /// <summary>
    /// Runs it once. The state must have no exception pending; one that the instruction leaves pending is harmless.
    /// </summary>
    /// <param name="image">As FNSAVE writes it in 64-bit mode: the state before, then after.</param>
    /// <param name="operand">The memory operand, before and after.</param>
    /// <returns>RAX.</returns>
    public ulong Run(Span<byte> image, ref UInt128 operand)
    {
        var call = new Call { Operand = operand };
        Span<byte> bytes = MemoryMarshal.AsBytes(new Span<Call>(ref call));
        image.CopyTo(bytes);
        _code.Run(ref call);
        bytes.Slice(AfterOffset, ImageSize).CopyTo(image);
        operand = call.Operand;
        return call.Result;
    }

    public void Dispose() => _code.Dispose();

    [StructLayout(LayoutKind.Sequential)]
    struct Call
    {
        public Images Both;
        public UInt128 Operand;
        public ulong Result;
    }

    [InlineArray(224)]
    struct Images
    {
        byte _first;
    }
}
