using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Native;

/// <summary>One SSE instruction on the host's processor, under a given MXCSR.</summary>
public sealed class ScalarOracle : IDisposable
{
    readonly NativeCode _code;

    /// <param name="instruction">
    /// Writes the instruction: XMM0 holds the first operand, XMM1 the second, RSI is the first as an integer; the
    /// result is in XMM0 or RAX.
    /// </param>
    /// <param name="isInteger">The result is in RAX.</param>
    public ScalarOracle(Action<Assembler> instruction, bool isInteger = false) => _code = new NativeCode(code =>
    {
        var done = code.CreateLabel("done");
        code.lea(rax, __qword_ptr[done]);
        code.mov(__qword_ptr[rdi + FloatTrap.RecoveryOffset], rax);
        code.ldmxcsr(__dword_ptr[rdi + FloatTrap.MxcsrOffset]);
        code.movq(xmm0, __qword_ptr[rdi + 8]);
        code.movq(xmm1, __qword_ptr[rdi + 16]);
        code.mov(rsi, __qword_ptr[rdi + 8]);
        instruction(code);
        if (!isInteger) code.movq(rax, xmm0);
        code.mov(__qword_ptr[rdi + 24], rax);
        code.stmxcsr(__dword_ptr[rdi + FloatTrap.MxcsrOffset]);
        code.Label(ref done);
        code.ldmxcsr(__dword_ptr[rdi + 4]);
        code.ret();
    });

    /// <summary>Runs it once. An unmasked exception needs a live <see cref="FloatTrap"/>.</summary>
    /// <returns>The result, or null when the instruction trapped.</returns>
    public ulong? Run(ulong a, ulong b, ref uint mxcsr)
    {
        var call = new Call { Mxcsr = mxcsr, HostMxcsr = 0x1F80, First = a, Second = b };
        _code.Run(ref call);
        mxcsr = call.Mxcsr;
        return call.Trapped == 0 ? call.Result : null;
    }

    public void Dispose() => _code.Dispose();

    [StructLayout(LayoutKind.Sequential)]
    struct Call
    {
        public uint Mxcsr, HostMxcsr;
        public ulong First, Second, Result, Recovery, Trapped;
    }
}
