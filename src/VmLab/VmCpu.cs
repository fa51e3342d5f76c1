using System.Globalization;
using VmLab.Core;
using VmLab.Machines;
using VmLab.X86;
using VmLab.X86.Floating;

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

    /// <inheritdoc cref="Vcpu.PrivilegeLevel"/>
    public int PrivilegeLevel => Cpu.PrivilegeLevel;

    public SegmentRegister Es => Cpu.SegmentRegister(Segment.Es);
    public SegmentRegister Cs => Cpu.SegmentRegister(Segment.Cs);
    public SegmentRegister Ss => Cpu.SegmentRegister(Segment.Ss);
    public SegmentRegister Ds => Cpu.SegmentRegister(Segment.Ds);
    public SegmentRegister Fs => Cpu.SegmentRegister(Segment.Fs);
    public SegmentRegister Gs => Cpu.SegmentRegister(Segment.Gs);

    public ulong Cr0 => Cpu.ControlRegister(0);
    public ulong Cr2 => Cpu.ControlRegister(2);
    public ulong Cr3 => Cpu.ControlRegister(3);
    public ulong Cr4 => Cpu.ControlRegister(4);
    public ulong Cr8 => Cpu.ControlRegister(8);
    public ulong Efer => Cpu.ExtendedFeatures;
    public uint Mxcsr => Cpu.Mxcsr;

    /// <summary>The x87's registers, ST(0) by index 0, and its control and status words.</summary>
    public X87State X87 => Cpu.X87;

    Machine Pc => _vm.Powered.Machine.Pc;

    Vcpu Cpu => Pc.Cpu;

    /// <param name="number">As the processor numbers them: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.</param>
    public ulong Register(int number) => _vm.Powered.Machine.Register(number);

    /// <inheritdoc cref="Vcpu.Xmm"/>
    public UInt128 Xmm(int number) => Cpu.Xmm(number);

    /// <summary>A debug register of the guest's own.</summary>
    /// <inheritdoc cref="Vcpu.DebugRegister"/>
    public ulong Dr(int number) => Cpu.DebugRegister(number);

    /// <summary>Stops the machine before the instruction at an address; see <see cref="Hook{THit}"/>.</summary>
    /// <param name="address">Linear address, met in every address space.</param>
    /// <param name="met">Called each time, with the machine stopped there.</param>
    public Hook<BreakpointHit> BreakAt(ulong address, Action<VmCpu>? met = null) =>
        BreakAt(address, string.Create(CultureInfo.InvariantCulture, $"0x{address:x}"), met);

    /// <inheritdoc cref="BreakAt(ulong, Action{VmCpu})"/>
    /// <param name="symbol">Of the Linux kernel or of a module that is loaded.</param>
    /// <exception cref="LabException">The guest's kernel has no such symbol, or is not up yet.</exception>
    public Hook<BreakpointHit> BreakAt(string symbol, Action<VmCpu>? met = null) =>
        BreakAt(_vm.Linux.Symbol(symbol), $"\"{symbol}\"", met);

    /// <summary>
    /// Lets the machine take so many counts: an instruction, an iteration of a repetition, or the delivery of an exception or
    /// interrupt is one.
    /// </summary>
    /// <param name="within">Limit in guest time, which a halted machine may reach; the lab's own where it is <see
    /// langword="null"/>.</param>
    public Task Step(int counts = 1, TimeSpan? within = null, CancellationToken cancellation = default)
    {
        Require.InRange(counts, 1, int.MaxValue);
        Machine machine = Pc;
        ulong end = machine.Retired + (ulong)counts;
        machine.Hooks.HoldAfter((ulong)counts);
        return _vm.Lab.Await(
            _vm.Lab.WaitFor<bool>($"{_vm.Name} did not take {counts} counts", within, _vm, needsKernel: false,
                (out bool isThere) => isThere = _vm.Powered.Machine.Pc != machine || machine.Retired >= end, isHook: true),
            cancellation);
    }

    /// <summary>The general registers, RIP and RFLAGS, as a table of five lines.</summary>
    public override string ToString() => Cpu.ToString();

    Hook<BreakpointHit> BreakAt(ulong address, string name, Action<VmCpu>? met) => new(
        _vm, $"{_vm.Name} did not come to {name}", met is null ? null : _ => met(this),
        (machine, meet) => machine.Hooks.BreakAt(address, () => meet(new BreakpointHit(address, _vm.Now))));
}
