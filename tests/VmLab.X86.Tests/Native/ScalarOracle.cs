using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Native;

/// <summary>One SSE instruction on the host's processor, under a given MXCSR.</summary>
public sealed class ScalarOracle : IDisposable
{
    readonly NativeCode _code;

    /// <param name="instruction">
    /// Writes the instruction: XMM0 holds the first operand, XMM1 the second, RSI is the first as an integer; the result is in XMM0 or RAX.
    /// </param>
    /// <param name="isInteger">The result is in RAX.</param>
    public ScalarOracle(Action<Assembler> instruction, bool isInteger = false) => _code = new NativeCode(code =>
    {
        code.ldmxcsr(__dword_ptr[rdi]);
        code.movq(xmm0, __qword_ptr[rdi + 8]);
        code.movq(xmm1, __qword_ptr[rdi + 16]);
        code.mov(rsi, __qword_ptr[rdi + 8]);
        instruction(code);
        if (!isInteger) code.movq(rax, xmm0);
        code.mov(__qword_ptr[rdi + 24], rax);
        code.stmxcsr(__dword_ptr[rdi]);
        code.ldmxcsr(__dword_ptr[rdi + 4]);
        code.ret();
    });

    /// <summary>Runs it once; every exception must be masked.</summary>
    public ulong Run(ulong a, ulong b, ref uint mxcsr)
    {
        var call = new Call { Mxcsr = mxcsr, HostMxcsr = 0x1F80, First = a, Second = b };
        _code.Run(ref call);
        mxcsr = call.Mxcsr;
        return call.Result;
    }

    public void Dispose() => _code.Dispose();

    [StructLayout(LayoutKind.Sequential)]
    struct Call
    {
        public uint Mxcsr, HostMxcsr;
        public ulong First, Second, Result;
    }
}
