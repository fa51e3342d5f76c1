namespace VmLab;

/// <summary>A machine's processor, looked at from outside between two instructions.</summary>
public sealed class VmCpu
{
    readonly Vm _vm;

    internal VmCpu(Vm vm) => _vm = vm;

    /// <summary>Linear address of the next instruction.</summary>
    public ulong Rip => _vm.Powered.Machine.Rip;

    /// <summary>RFLAGS as PUSHFQ would store it.</summary>
    public ulong Rflags => _vm.Powered.Machine.Rflags;

    public ulong Rax => Register(0);
    public ulong Rcx => Register(1);
    public ulong Rdx => Register(2);
    public ulong Rbx => Register(3);
    public ulong Rsp => Register(4);
    public ulong Rbp => Register(5);
    public ulong Rsi => Register(6);
    public ulong Rdi => Register(7);
    public ulong R8 => Register(8);
    public ulong R9 => Register(9);
    public ulong R10 => Register(10);
    public ulong R11 => Register(11);
    public ulong R12 => Register(12);
    public ulong R13 => Register(13);
    public ulong R14 => Register(14);
    public ulong R15 => Register(15);

    /// <param name="number">As the processor numbers them: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.</param>
    public ulong Register(int number) => _vm.Powered.Machine.Register(number);
}
