using Iced.Intel;
using VmLab.X86.Tests.Native;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Sse;

/// <summary>One vector instruction on the host's processor, between two images of its registers.</summary>
public sealed unsafe class VectorOracle : IDisposable
{
    static readonly AssemblerRegister64[] s_kept = [rbx, rbp, r12, r13, r14, r15];

    // By number, without RSP, RSI and RDI.
    static readonly AssemblerRegister64?[] s_registers =
        [rax, rcx, rdx, rbx, null, rbp, null, null, r8, r9, r10, r11, r12, r13, r14, r15];

    readonly NativeCode _code;

    public VectorOracle(byte[] instruction) => _code = new NativeCode(code =>
    {
        var done = code.CreateLabel("done");
        foreach (var kept in s_kept) code.push(kept);
        code.lea(rax, __qword_ptr[done]);
        code.mov(__qword_ptr[rdi + VectorState.RecoveryOffset], rax);
        code.push(rdi);
        code.push(__qword_ptr[rdi + VectorState.FlagsOffset]);
        code.popfq();
        code.fxrstor64(__[rdi + VectorState.ImageOffset]);
        for (int i = 0; i < 16; i++)
            if (s_registers[i] is { } register) code.mov(register, __qword_ptr[rdi + VectorState.GprOffset + 8 * i]);
        code.lea(rsi, __qword_ptr[rdi + VectorState.MemoryOffset]);
        code.db(instruction);
        code.Label(ref done);
        code.pop(rdi);
        for (int i = 0; i < 16; i++)
            if (s_registers[i] is { } register) code.mov(__qword_ptr[rdi + VectorState.GprOffset + 8 * i], register);
        code.pushfq();
        code.pop(__qword_ptr[rdi + VectorState.FlagsOffset]);
        code.fxsave64(__[rdi + VectorState.ImageOffset]);
        code.fninit();
        code.mov(__dword_ptr[rsp - 8], 0x1F80);
        code.ldmxcsr(__dword_ptr[rsp - 8]);
        foreach (var kept in s_kept.Reverse()) code.pop(kept);
        code.ret();
    });

    /// <summary>Runs it once. An exception needs a live <see cref="FloatTrap"/>.</summary>
    /// <param name="state">Aligned to 16 bytes.</param>
    public void Run(VectorState* state)
    {
        state->Trapped = 0;
        _code.Run(ref *state);
        if (state->Trapped != 0) *(uint*)(state->Image + VectorState.ControlOffset) = *(uint*)state->Target;
    }

    public void Dispose() => _code.Dispose();
}
