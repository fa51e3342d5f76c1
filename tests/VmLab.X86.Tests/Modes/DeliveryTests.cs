using Iced.Intel;
using VmLab.Core;
using VmLab.X86.Tests.Guests;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Modes.ProtectedPc;

namespace VmLab.X86.Tests.Modes;

/// <summary>
/// Exceptions and interrupts in 32-bit protected mode. Source: Intel SDM vol. 3A §6.10 to §6.13; vol. 2, INT n.
/// </summary>
public sealed unsafe class DeliveryTests : ProtectedTest
{
    const byte Soft = 0x80;
    const ulong Tss = VcpuFixture.Tss;

    // §6.12.1, figure 6-4: without a change of level EFLAGS, CS, EIP and the error code, of 32 bits.
    [Test]
    public void A_fault_pushes_flags_cs_and_eip_on_the_present_stack()
    {
        Run(code => code.ud2());

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.InvalidOpcode));
        Assert.That(Register(Gpr.Rsp), Is.EqualTo(StackTop - 12));
        Assert.That(Pc.Frame(3), Is.EqualTo(new uint[] { ProtectedPc.Code, Code0, (uint)(Rflags.Resume | Rflags.Fixed) }));
    }

    // §6.12.1: with a change of level the task's stack, and on it the old one.
    [TestCase(1)]
    [TestCase(3)]
    public void A_fault_of_an_outer_ring_changes_to_the_task_s_stack(int ring)
    {
        Run(code => code.hlt(), ring);

        Assert.That((State->Cpl, State->SegmentSelectors[Segment.Ss], Register(Gpr.Rsp)), Is.EqualTo(((byte)0, Data0, Stack0 - 24)));
        uint cs = ring == 1 ? Code1 : Code3, ss = ring == 1 ? Data1 : Data3;
        Assert.That(Pc.Frame(6), Is.EqualTo(new[] { 0U, ProtectedPc.Code, cs, (uint)(Rflags.Resume | Rflags.Fixed), StackTop, ss }));
    }

    // §6.12.1.1: a handler of ring 1 runs on the stack of ring 1.
    [Test]
    public void A_gate_to_ring_1_takes_the_stack_of_ring_1()
    {
        Pc.Load(code => code.ud2(), ProtectedPc.Code + 0x100);
        Pc.SetGate(Soft, ProtectedPc.Code + 0x100, dpl: 3, selector: Code1 & ~3);
        Run(code => code.@int(Soft), ring: 3);

        AssertFault(Vector.InvalidOpcode, NoError, ProtectedPc.Code + 0x100);
        Assert.That((Pc.Frame(5)[1], Pc.Frame(5)[3]), Is.EqualTo((Code1, Stack1 - 20)));
        Assert.That(Pc.Read32(Stack1 - 20), Is.EqualTo(ProtectedPc.Code + 2));
    }

    // §6.12.1: a conforming handler runs at the level and on the stack of whom it serves.
    [Test]
    public void A_conforming_handler_keeps_level_and_stack()
    {
        Pc.Load(code => code.ud2(), ProtectedPc.Code + 0x100);
        Pc.SetGate(Soft, ProtectedPc.Code + 0x100, dpl: 3, selector: Conforming);
        Run(code => code.@int(Soft), ring: 3);

        AssertFault(Vector.InvalidOpcode, NoError, ProtectedPc.Code + 0x100);
        Assert.That((Pc.Frame(5)[1], Pc.Frame(5)[3]), Is.EqualTo(((uint)Conforming | 3, StackTop - 12)));
    }

    // §6.11 and vol. 2, INT n: gates of 16 bits push words and lead to an offset of 16 bits.
    [TestCase(6, 0UL)]
    [TestCase(7, Rflags.Interrupt)]
    public void A_16_bit_gate_pushes_words(int type, ulong interruptFlag)
    {
        Pc.SetGate(Soft, 0xABCD_0000 | VcpuFixture.HandlerOf(Soft), dpl: 3, type: type);
        State->SystemFlags |= Rflags.Interrupt;
        Run(code => code.@int(Soft), ring: 3);

        Assert.That(Pc.HaltedVector, Is.EqualTo(Soft));
        Assert.That(Register(Gpr.Rsp), Is.EqualTo(Stack0 - 10));
        Assert.That(Pc.Frame16(5), Is.EqualTo(new ushort[] { 2, Code3, 0x202, 0, Data3 }), "EIP, CS and ESP of 16 bits");
        Assert.That(State->SystemFlags & Rflags.Interrupt, Is.EqualTo(interruptFlag));
    }

    [TestCase(14, 0UL)]
    [TestCase(15, Rflags.Interrupt)]
    public void An_interrupt_gate_clears_if_and_a_trap_gate_does_not(int type, ulong expected)
    {
        Pc.SetGate(Soft, VcpuFixture.HandlerOf(Soft), type: type);
        State->SystemFlags |= Rflags.Interrupt | Rflags.NestedTask;
        Run(code => code.@int(Soft));

        Assert.That(State->SystemFlags & (Rflags.Interrupt | Rflags.NestedTask | Rflags.Trap), Is.EqualTo(expected));
    }

    [Test]
    public void An_interrupt_comes_through_a_32_bit_gate()
    {
        Pc.Load(code =>
        {
            code.nop();
            code.nop();
        });
        Pc.Enter(3);
        State->SystemFlags |= Rflags.Interrupt;
        Pc.Cpu.Run(1);
        Pc.Pc.Interrupts.Pending.Enqueue(0x40);
        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(0x40));
        Assert.That(Pc.Frame(5), Is.EqualTo(new uint[] { ProtectedPc.Code + 1, Code3, 0x202, StackTop, Data3 }));
    }

    // Vol. 2, INT n, PROTECTED-MODE: what a gate and its segment may be. §6.13: index, IDT and EXT bits of the error code.
    [TestCase(0, 0xEE, Code0, Vector.InvalidOpcode, NoError, Description = "an interrupt gate of DPL 3")]
    [TestCase(0, 0x8E, Code0, Vector.GeneralProtection, Soft * 8 + 2, Description = "a gate of DPL 0 for ring 3")]
    [TestCase(0, 0x6E, Code0, Vector.SegmentNotPresent, Soft * 8 + 2, Description = "a gate that is not present")]
    [TestCase(0, 0x0E, Code0, Vector.GeneralProtection, Soft * 8 + 2, Description = "the DPL is looked at before")]
    [TestCase(0, 0xEC, Code0, Vector.GeneralProtection, Soft * 8 + 2, Description = "a call gate")]
    [TestCase(0, 0xE2, Code0, Vector.GeneralProtection, Soft * 8 + 2, Description = "an LDT")]
    [TestCase(0, 0xF2, Code0, Vector.GeneralProtection, Soft * 8 + 2, Description = "a data segment")]
    [TestCase(0, 0xE5, Code0, Vector.GeneralProtection, Soft * 8 + 2, Description = "a task gate")]
    [TestCase(0, 0xEE, (ushort)0, Vector.GeneralProtection, 0, Description = "a null selector")]
    [TestCase(0, 0xEE, (ushort)3, Vector.GeneralProtection, 0, Description = "a null selector with RPL")]
    [TestCase(0, 0xEE, (ushort)0x80, Vector.GeneralProtection, 0x80, Description = "beyond the GDT")]
    [TestCase(0, 0xEE, Any, Vector.GeneralProtection, Any, Description = "an empty descriptor")]
    [TestCase(0, 0xEE, Data0, Vector.GeneralProtection, Data0, Description = "a data segment for CS")]
    [TestCase(0x1A, 0xEE, Any, Vector.SegmentNotPresent, Any, Description = "code that is not present")]
    [TestCase(ExecuteRead | Ring3, 0xEE, Any, 0x200, 0, Description = "code of ring 3 for ring 3")]
    public void A_gate_of_an_interrupt_instruction_is_checked(int rights, int gate, ushort selector, int vector, int error)
    {
        if (rights != 0) Pc.SetDescriptor(Any, 0, FourGiB, (ushort)(rights | Big | Pages));
        Pc.SetGate(Soft, ProtectedPc.Code + 0x100, selector: selector);
        Pc.Pc.Memory.Write(VcpuFixture.Idt + 8 * Soft + 5, [(byte)gate]);
        Pc.Load(code => code.ud2(), ProtectedPc.Code + 0x100);
        Run(code => code.@int(Soft), ring: 3);

        bool arrives = vector is Vector.InvalidOpcode or 0x200;
        AssertFault(arrives ? Vector.InvalidOpcode : vector, arrives ? NoError : error, ProtectedPc.Code + (arrives ? 0x100U : 0));
    }

    // §6.13: EXT is set where the event was not of the program's asking.
    [TestCase((ushort)0, 1)]
    [TestCase((ushort)0x80, 0x81)]
    [TestCase(Data0, Data0 | 1)]
    public void Ext_tells_that_an_exception_met_the_fault(ushort selector, int error)
    {
        Pc.SetGate(Vector.InvalidOpcode, VcpuFixture.HandlerOf(Vector.InvalidOpcode), selector: selector);
        Run(code => code.ud2());

        AssertFault(Vector.GeneralProtection, error);
    }

    // Vol. 2, INT n: beyond the IDT; the last byte counts.
    [TestCase(Soft * 8 + 7, Soft)]
    [TestCase(Soft * 8 + 6, Vector.GeneralProtection)]
    public void The_limit_of_the_idt_is_of_the_gate_s_last_byte(int limit, int vector)
    {
        Pc.SetGate(Soft, VcpuFixture.HandlerOf(Soft), dpl: 3);
        State->IdtLimit = (uint)limit;
        Run(code => code.@int(Soft), ring: 3);

        Assert.That(Pc.HaltedVector, Is.EqualTo(vector));
        if (vector != Soft) Assert.That(Pc.Frame(1)[0], Is.EqualTo(Soft * 8 + 2));
    }

    // Vol. 2, INT n, INTER-PRIVILEGE-LEVEL-INTERRUPT: #TS and #SS of the stack that the task state names; here met by an exception.
    [TestCase(0U, 103U, Vector.InvalidTss, 1, Description = "a null SS")]
    [TestCase(0x80U, 103U, Vector.InvalidTss, 0x81, Description = "an SS beyond the GDT")]
    [TestCase((uint)Data0 | 1, 103U, Vector.InvalidTss, Data0 | 1, Description = "RPL of another level")]
    [TestCase((uint)(Data3 & ~3), 103U, Vector.InvalidTss, Data3 & ~3 | 1, Description = "DPL of another level")]
    [TestCase((uint)Code0, 103U, Vector.InvalidTss, Code0 | 1, Description = "code for SS")]
    [TestCase((uint)Any, 103U, Vector.StackFault, Any | 1, Description = "an SS that is not present")]
    [TestCase((uint)Second, 103U, Vector.StackFault, Second | 1, Description = "a stack without room")]
    [TestCase((uint)Data0, 8U, Vector.InvalidTss, TaskState | 1, Description = "a TSS that ends before its SS0")]
    public void The_stack_of_the_task_state_is_checked(uint ss, uint tssLimit, int vector, int error)
    {
        // Of ring 1, so that the fault can be served from ring 3 by way of ring 1's stack.
        Pc.SetDescriptor(Any, 0, FourGiB, 0x12 | Big | Pages);
        Pc.SetDescriptor(Second, 0, Stack0 - 5, Writable | Big);
        Pc.Write32(Tss + 8, ss);
        State->TssLimit = tssLimit;
        Pc.SetGate((byte)vector, ProtectedPc.Code + 0x100, selector: Conforming);
        Pc.Load(code => code.cli(), ProtectedPc.Code + 0x100);   // at CPL 3: #GP, which nothing can deliver
        Pc.Load(code => code.ud2());
        Pc.Enter(3);

        StopReason reason = Pc.Cpu.Run(100);

        Assert.That(reason, Is.EqualTo(StopReason.Shutdown));
        Assert.That((State->Rip, Pc.Frame(2)[0], Pc.Frame(2)[1]),
            Is.EqualTo((ProtectedPc.Code + 0x100UL, (uint)error, ProtectedPc.Code)));
    }

    // §7.6, figure 7-10: SP0 at 2, SS0 at 4.
    [Test]
    public void A_16_bit_task_state_holds_words()
    {
        State->TssRights = 0x83;
        State->TssLimit = 5;
        Pc.Write32(Tss + 2, Stack0 & 0xFFFF | (uint)Data0 << 16);
        Pc.SetDescriptor(Data0, 0x3_0000, 0xFFFF, Writable);
        Run(code => code.hlt(), ring: 3);

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That((State->SegmentBases[Segment.Ss], Register(Gpr.Rsp) & 0xFFFF), Is.EqualTo((0x3_0000UL, 0x4000U - 24)));
    }

    // §6.15, #DF, and table 6-5, without long mode.
    [Test]
    public void Contributory_faults_double_and_a_third_shuts_down([Values] bool hasDoubleFaultGate)
    {
        Pc.Pc.Memory.Write64(VcpuFixture.Idt + 8 * Vector.GeneralProtection, 0);
        if (!hasDoubleFaultGate) Pc.Pc.Memory.Write64(VcpuFixture.Idt + 8 * Vector.DoubleFault, 0);
        Pc.Load(code => code.mov(ds, eax));
        State->Gpr[Gpr.Rax] = 0x88;

        StopReason reason = Pc.Cpu.Run(100);

        Assert.That(reason, Is.EqualTo(hasDoubleFaultGate ? StopReason.Halted : StopReason.Shutdown));
        if (hasDoubleFaultGate) AssertFault(Vector.DoubleFault, 0);
    }

    // Table 6-5, the longest way: benign, contributory, page fault, contributory, double fault.
    [Test]
    public void A_page_fault_in_the_delivery_of_a_contributory_fault_is_served_and_may_double_in_turn()
    {
        const ulong Tables = 0x10_0000;
        Pc.Pc.Memory.Write64(VcpuFixture.Idt + 8 * Vector.PageFault, 0);
        for (ulong i = 0; i < 1024; i++) Pc.Write32(Tables + 0x1000 + 4 * i, (uint)(i << 12) | 3);
        Pc.Write32(Tables, (uint)Tables + 0x1000 | 3);
        State->Cr3 = Tables;
        State->Cr0 |= Cr0.Paging;
        // The gate of #GP has its code segment in a table page that is absent.
        State->LdtRights = 0x82;
        (State->LdtBase, State->LdtLimit) = (0x80_0000, 0xFF);
        Pc.SetGate(Vector.GeneralProtection, VcpuFixture.HandlerOf(Vector.GeneralProtection), selector: 0x0C);
        Pc.Pc.Memory.Write64(VcpuFixture.Idt + 8 * Vector.InvalidOpcode, 0);
        Run(code => code.ud2());

        AssertFault(Vector.DoubleFault, 0);
        Assert.That(State->Cr2, Is.EqualTo(0x80_0008));
    }

    // Vol. 2, INT n: INT1 is no matter of the gate's DPL; INT 1, INT3 and INTO are.
    [TestCase(0xF1, 0, Vector.Debug, NoError)]
    [TestCase(0xCC, 0, Vector.GeneralProtection, Vector.Breakpoint * 8 + 2)]
    [TestCase(0xCE, 0, Vector.GeneralProtection, Vector.Overflow * 8 + 2)]
    [TestCase(0xCD, 1, Vector.GeneralProtection, Vector.Debug * 8 + 2)]
    public void A_gate_of_ring_0_is_shut_to_software_interrupts_only(int opcode, int operand, int vector, int error)
    {
        Flags.SetArithmetic(State, Rflags.Overflow);
        Run(code => code.db((byte)opcode, (byte)operand), ring: 3);

        AssertFault(vector, error, ProtectedPc.Code + (vector == Vector.Debug ? 1U : 0));
    }

    [Test]
    public void Into_does_nothing_without_overflow()
    {
        Flags.SetArithmetic(State, 0);
        Run(code =>
        {
            code.into();
            code.ud2();
        });

        AssertFault(Vector.InvalidOpcode, NoError, ProtectedPc.Code + 1);
    }

    [Test]
    public void A_task_gate_is_counted()
    {
        Pc.SetGate(Soft, 0, type: 5, selector: TaskState);
        Run(code => code.@int(Soft));

        AssertFault(Vector.GeneralProtection, Soft * 8 + 2);
        Assert.That(Pc.Pc.Exits[ExitReason.TaskSwitch], Is.EqualTo(1));
    }

    // Vol. 2, INT n: the new EIP is held against the new CS, with EXT.
    [Test]
    public void A_handler_beyond_its_segment_is_a_general_protection_fault()
    {
        Pc.SetDescriptor(Any, 0, 0xFFF, ExecuteRead | Big);
        Pc.SetGate(Vector.InvalidOpcode, 0x1000, selector: Any);
        Run(code => code.ud2());

        AssertFault(Vector.GeneralProtection, 1);
    }

    // §3.4.5.1: loading a segment register sets the accessed bit, in memory too.
    [Test]
    public void A_delivery_marks_the_segments_it_loads_accessed()
    {
        Run(code => code.ud2(), ring: 3);

        Assert.That((Pc.RightsOf(Code0) & 1, Pc.RightsOf(Data0) & 1, Pc.RightsOf(Code1) & 1), Is.EqualTo((1, 1, 0)));
    }
}
