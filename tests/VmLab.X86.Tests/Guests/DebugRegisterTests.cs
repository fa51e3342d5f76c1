using Iced.Intel;
using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>The guest's own breakpoints and what goes with them. Source: Intel SDM vol. 3B §17.2 and §17.3.</summary>
public sealed unsafe class DebugRegisterTests : GuestTest
{
    const byte Irq = 0x40;
    const ulong Enable0 = 1, Enable1 = 4, Handler = VcpuFixture.Code + 0x800;

    // §17.3.1.1: a fault, before the instruction; the RF that is pushed is not set.
    [Test]
    public void A_breakpoint_on_an_instruction_faults_before_it()
    {
        Pc.Load(code =>
        {
            code.mov(eax, 1);
            code.mov(eax, 2);
        });
        Set(0, VcpuFixture.Code + 5, Enable0);

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, Register(Gpr.Rax), State->Dr[6]), Is.EqualTo(((int)Vector.Debug, 1UL, 0xFFFF_0FF1UL)));
        Assert.That((Pc.Frame(3)[0], Pc.Frame(3)[2] & Rflags.Resume), Is.EqualTo((VcpuFixture.Code + 5, 0UL)));
    }

    // §17.3.1.1: RF, set in the frame by the handler, lets one instruction pass.
    [Test]
    public void Rf_lets_the_instruction_pass_once()
    {
        Pc.Load(code =>
        {
            Label loop = code.CreateLabel();
            code.mov(ecx, 3);
            code.Label(ref loop);
            code.dec(ecx);
            code.jnz(loop);
            code.hlt();
        });
        HandleWith(code =>
        {
            code.inc(r9);
            code.or(__qword_ptr[rsp + 16], (int)Rflags.Resume);
            code.iretq();
        });
        Set(0, VcpuFixture.Code + 5, Enable0);

        Pc.RunToHalt();

        Assert.That((State->Gpr[9], State->SystemFlags & Rflags.Resume), Is.EqualTo((3UL, 0UL)));
    }

    // §17.3.1.1: a fault pushes RF set, so that its instruction does not meet the breakpoint again.
    [Test]
    public void A_fault_pushes_rf()
    {
        Pc.Load(code => code.ud2());

        Pc.RunToHalt();

        Assert.That(Pc.Frame(3)[2] & Rflags.Resume, Is.EqualTo(Rflags.Resume));
    }

    // §17.3.1.1: an interrupt between two iterations pushes RF set; behind the last it does not.
    [TestCase(4, true)]
    [TestCase(5, false)]
    public void An_interrupt_in_a_repetition_pushes_rf(int iterations, bool isSet)
    {
        Pc.Load(code =>
        {
            code.rep.stosb();
            code.hlt();
        });
        State->SystemFlags |= Rflags.Interrupt;
        State->Gpr[Gpr.Rdi] = Data;
        State->Gpr[Gpr.Rcx] = 5;
        Pc.Cpu.Run((ulong)iterations);
        Pc.Interrupts.Pending.Enqueue(Irq);

        Pc.Cpu.Run(1);

        Assert.That((Pc.Frame(3)[2] & Rflags.Resume) != 0, Is.EqualTo(isSet));
    }

    // §17.2.4 and table 17-2: R/W 01 is on stores, 11 on loads too; a trap, behind the instruction.
    [TestCase(1, 1)]
    [TestCase(3, 0)]
    public void A_breakpoint_on_data_traps_behind_its_instruction(int kind, int index)
    {
        Pc.Load(code =>
        {
            code.mov(eax, __[Data + 4]);
            code.mov(__[Data + 4], ecx);
            code.nop();
        });
        Set(1, Data + 4, Enable1 | (ulong)kind << 20 | 3UL << 22);

        Pc.RunToHalt();

        ulong[] behind = [VcpuFixture.Code + 9, VcpuFixture.Code + 16];   // the load has an address of eight bytes
        Assert.That((Pc.HaltedVector, State->Dr[6]), Is.EqualTo(((int)Vector.Debug, 0xFFFF_0FF2UL)));
        Assert.That(Pc.Frame(1)[0], Is.EqualTo(behind[index]));
    }

    // §17.2.5: the address is aligned by the length, whose field 10 is eight bytes.
    [TestCase(0, 0x10, 0x10, true)]
    [TestCase(0, 0x10, 0x11, false)]
    [TestCase(1, 0x11, 0x10, true)]
    [TestCase(2, 0x13, 0x17, true)]
    [TestCase(2, 0x13, 0x18, false)]
    [TestCase(3, 0x10, 0x13, true)]
    [TestCase(3, 0x10, 0x14, false)]
    public void A_breakpoint_covers_its_length(int length, int address, int touched, bool isMet)
    {
        Pc.Load(code =>
        {
            code.mov(__byte_ptr[Data + (ulong)touched], 1);
            code.hlt();
        });
        Set(0, Data + (ulong)address, Enable0 | 1UL << 16 | (ulong)length << 18);

        Pc.RunToHalt();

        Assert.That((State->Dr[6] & 1) != 0, Is.EqualTo(isMet));
    }

    // §17.2.4: with CR4.DE, R/W 10 is on ports; without, it is nothing.
    [Test]
    public void A_breakpoint_on_a_port_needs_debug_extensions([Values] bool hasExtensions)
    {
        if (hasExtensions) State->Cr4 |= Cr4.DebugExtensions;
        Pc.Load(code =>
        {
            code.@out(0x80, al);
            code.hlt();
        });
        Set(0, 0x80, Enable0 | 2UL << 16);

        Pc.RunToHalt();

        Assert.That((State->Dr[6] & 1) != 0, Is.EqualTo(hasExtensions));
    }

    // §17.2.4: GD makes an access to a debug register a fault, and is off for the handler. §17.3.1.1: RF is pushed set.
    [Test]
    public void General_detect_faults_before_an_access_to_debug_registers([Values] bool isWrite)
    {
        Pc.Load(code =>
        {
            if (isWrite) code.mov(dr3, rax);
            else code.mov(rax, dr7);
        });
        State->Dr[7] = Dr7.GeneralDetect | Dr7.Fixed;

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, State->Dr[6], State->Dr[7]), Is.EqualTo(((int)Vector.Debug, 0xFFFF_2FF0UL, 0x400UL)));
        Assert.That((Pc.Frame(3)[0], Pc.Frame(3)[2] & Rflags.Resume), Is.EqualTo((VcpuFixture.Code, Rflags.Resume)));
    }

    // §17.3.1.4: the causes of one instruction are told at once.
    [Test]
    public void A_single_step_and_a_breakpoint_on_data_are_one_exception()
    {
        Pc.Load(code => code.mov(__byte_ptr[Data], 1));
        Set(0, Data, Enable0 | 1UL << 16);
        State->SystemFlags |= Rflags.Trap;

        Pc.RunToHalt();

        Assert.That(State->Dr[6], Is.EqualTo(0xFFFF_4FF1UL));
    }

    // Vol. 3A §6.8.3: a load of SS holds a breakpoint on its data back, and one on the next instruction off.
    [Test]
    public void A_load_of_ss_holds_breakpoints_back()
    {
        Pc.Load(code =>
        {
            code.mov(ss, __word_ptr[Data]);
            code.nop();
            code.nop();
        });
        Pc.Memory.Write64(Data, KernelData);
        ulong next = VcpuFixture.Code + (ulong)Assemble(code => code.mov(ss, __word_ptr[Data]), 0).Length;
        State->Dr[1] = next;
        Set(0, Data, Enable0 | Enable1 | 3UL << 16);

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, State->Dr[6]), Is.EqualTo(((int)Vector.Debug, 0xFFFF_0FF1UL)));
        Assert.That(Pc.Frame(1)[0], Is.EqualTo(next + 1));
    }

    // The same, where INT n stands behind it: the trap is taken at the first instruction of its handler.
    [Test]
    public void A_breakpoint_held_back_over_an_interrupt_instruction_traps_in_its_handler()
    {
        Pc.Load(code =>
        {
            code.mov(ss, __word_ptr[Data]);
            code.@int(0x90);
        });
        Pc.Memory.Write64(Data, KernelData);
        Set(0, Data, Enable0 | 3UL << 16);

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, Pc.Frame(1)[0]), Is.EqualTo(((int)Vector.Debug, HandlerOf(0x90))));
    }

    // Vol. 2, INT1: no cause in DR6, and the gate's DPL does not matter.
    [Test]
    public void Icebp_enters_the_handler_from_user_code()
    {
        Pc.EnterUser();
        Pc.Load(code => code.db(0xF1), UserPages);

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, State->Dr[6], Pc.Frame(1)[0]), Is.EqualTo(((int)Vector.Debug, 0xFFFF_0FF0UL, UserPages + 1)));
    }

    // §17.3.1.4: a SYSCALL that masks TF does not trap.
    [Test]
    public void A_syscall_that_masks_tf_does_not_trap([Values] bool isMasked)
    {
        Pc.EnterUser();
        Pc.Load(code => code.syscall(), UserPages);
        State->Star = (ulong)KernelCode << 32;
        State->Lstar = Handler;
        State->SyscallMask = isMasked ? Rflags.Trap : 0;
        Pc.Load(code => code.hlt(), Handler);
        State->SystemFlags |= Rflags.Trap;

        Pc.RunToHalt();

        Assert.That(State->Rip == Handler + 1, Is.EqualTo(isMasked));
        Assert.That((State->Dr[6] & Dr6.SingleStep) != 0, Is.Not.EqualTo(isMasked));
    }

    // §17.2.2: DR7 written by the guest takes force at the next instruction, though it was decoded before.
    [Test]
    public void A_breakpoint_set_by_the_guest_is_met_in_code_that_ran_before()
    {
        Pc.Load(code =>
        {
            Label loop = code.CreateLabel();
            code.lea(rax, __[loop]);
            code.mov(dr0, rax);
            code.mov(ecx, 3);
            code.mov(ebx, 0x401);
            code.Label(ref loop);
            code.inc(edx);
            code.dec(ecx);
            code.nop();
            code.mov(dr7, rbx);
            code.jmp(loop);
        });
        State->Gpr[Gpr.Rdx] = 0;

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, Register(Gpr.Rdx)), Is.EqualTo(((int)Vector.Debug, 1UL)));
    }

    void Set(int number, ulong address, ulong control)
    {
        State->Dr[number] = address;
        State->Dr[7] = control | Dr7.Fixed;
        Pc.Cpu.Refresh();
    }

    void HandleWith(Action<Assembler> write)
    {
        Pc.Load(write, Handler);
        Pc.SetGate(Vector.Debug, Handler);
        State->Gpr[9] = 0;
    }
}
