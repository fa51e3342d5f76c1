using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// Faults, gates, stacks, and what becomes of a fault inside a delivery. Source: Intel SDM vol. 3A chapter 6.
/// </summary>
public sealed unsafe class ExceptionTests : GuestTest
{
    const ulong NonCanonical = 0x8000_0000_0000, Absent = 0x4000_0000;
    const int NoError = -1;

    [SetUp]
    public void SetRegisters()
    {
        State->Gpr[Gpr.Rax] = 5;
        State->Gpr[Gpr.Rcx] = 0;
        State->Gpr[Gpr.Rdx] = 1;
        State->Gpr[Gpr.Rbx] = NonCanonical;
        State->Gpr[Gpr.R8] = Absent;
    }

    public static IEnumerable<TestCaseData> Faults =>
    [
        Of("div by zero", code => code.div(ecx), Vector.DivideError),
        Of("div overflow", code => code.div(edx), Vector.DivideError),
        Of("idiv overflow", code => code.idiv(edx), Vector.DivideError),
        Of("div by zero, a byte", code => code.div(cl), Vector.DivideError),
        Of("ud2", code => code.ud2(), Vector.InvalidOpcode),
        Of("ud0", code => code.ud0(eax, ecx), Vector.InvalidOpcode),
        Of("lock on a register", code => code.db(0xF0, 0x01, 0xC8), Vector.InvalidOpcode),
        Of("push es", code => code.db(0x06), Vector.InvalidOpcode),
        Of("mov cs", code => code.db(0x8E, 0xCA), Vector.InvalidOpcode),
        Of("movbe, not announced", code => code.movbe(eax, __[rsp]), Vector.InvalidOpcode),
        Of("rdfsbase without CR4.FSGSBASE", code => code.rdfsbase(rax), Vector.InvalidOpcode),
        Of("sixteen bytes", code => code.db([.. Enumerable.Repeat((byte)0x66, 15), 0x90]), Vector.GeneralProtection, 0),
        Of("load, not canonical", code => code.mov(eax, __[rbx]), Vector.GeneralProtection, 0),
        Of("store, not canonical", code => code.mov(__[rbx], eax), Vector.GeneralProtection, 0),
        Of("load that ends not canonical", code => code.mov(rax, __[rbx - 4]), Vector.GeneralProtection, 0),
        Of("call, not canonical", code => code.call(rbx), Vector.GeneralProtection, 0),
        Of("jump, not canonical", code => code.jmp(rbx), Vector.GeneralProtection, 0),
        Of("push from not canonical", code => code.push(__qword_ptr[rbx]), Vector.GeneralProtection, 0),
        Of("pop to not canonical", code => code.pop(__qword_ptr[rbx]), Vector.GeneralProtection, 0),
        Of("call through not canonical", code => code.call(__qword_ptr[rbx]), Vector.GeneralProtection, 0),
        Of("CR0 without PE", code => code.mov(cr0, rcx), Vector.GeneralProtection, 0),
        Of("CR4 bit that is not there", code => code.mov(cr4, rbx), Vector.GeneralProtection, 0),
        Of("CR3 beyond the physical addresses", code => code.mov(cr3, rbx), Vector.GeneralProtection, 0),
        Of("CR8 above 15", code => code.mov(cr8, rbx), Vector.GeneralProtection, 0),
        Of("wrmsr of nothing", code => code.wrmsr(), Vector.GeneralProtection, 0),
        Of("rdmsr of nothing", code => code.rdmsr(), Vector.GeneralProtection, 0),
        Of("mov ss, null with RPL 1", code => code.mov(ss, edx), Vector.GeneralProtection, 0),
        Of("mov ds, beyond the table", code => code.mov(ds, r8d), Vector.GeneralProtection, null),
        Of("cmpxchg16b, not aligned", code =>
            code.cmpxchg16b(__xmmword_ptr[(long)StackTop - 0x108]), Vector.GeneralProtection, 0),
        Of("load from an absent page", code => code.mov(eax, __[r8]), Vector.PageFault, 0),
        Of("read-modify-write of an absent page", code => code.inc(__dword_ptr[r8]), Vector.PageFault, 2),
        Of("ltr of a code segment", code => code.db(0x0F, 0x00, 0xDD), Vector.GeneralProtection, KernelCode),
    ];

    // §6.5: a fault leaves RIP on its instruction. §6.13: vectors with an error code. §17.3.1.1: RF is set in a
    // fault's image.
    [TestCaseSource(nameof(Faults))]
    public void A_fault_names_its_instruction(Action<Assembler> instruction, int vector, int? error)
    {
        State->Gpr[Gpr.Rbp] = KernelCode;
        if (error is null) State->Gpr[Gpr.R8] = (ulong)(error = 0xFFF8);
        Pc.Load(instruction);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(vector));
        ulong[] frame = Pc.Frame(6);
        if (error != NoError) Assert.That(frame[0], Is.EqualTo((ulong)error), "error code");
        ulong[] rest = frame[(error == NoError ? 0 : 1)..];
        Assert.That(rest[0], Is.EqualTo(VcpuFixture.Code), "RIP");
        Assert.That(rest[1], Is.EqualTo(KernelCode), "CS");
        Assert.That(rest[2] & Rflags.Resume, Is.EqualTo(Rflags.Resume), "RF");
        Assert.That(rest[3], Is.EqualTo(StackTop), "RSP");
        Assert.That(Pc.Clock.Now, Is.EqualTo(2), "the delivery and the HLT");
    }

    static TestCaseData Of(string name, Action<Assembler> instruction, byte vector, int? error = NoError) =>
        new TestCaseData(instruction, (int)vector, error).SetArgDisplayNames(name);

    // The quotient that does not fit even 128 bits: nothing of the host's arithmetic may show.
    [Test]
    public void The_least_dividend_by_minus_one_is_a_divide_error()
    {
        State->Gpr[Gpr.Rax] = 0;
        State->Gpr[Gpr.Rdx] = 1UL << 63;
        State->Gpr[Gpr.Rcx] = ulong.MaxValue;
        Pc.Load(code => code.idiv(rcx));

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.DivideError));
    }

    // Vol. 2, PUSH, POP, CALL, RET, ENTER, LEAVE: #SS(0) where the stack's address is not canonical; nothing has moved.
    [TestCaseSource(nameof(StackInstructions))]
    public void A_stack_that_is_not_canonical_is_a_stack_fault(Action<Assembler> instruction)
    {
        Pc.SetGate(Vector.StackFault, HandlerOf(Vector.StackFault), stack: 1);
        State->Gpr[Gpr.Rsp] = State->Gpr[Gpr.Rbp] = NonCanonical + 0x100;
        Pc.Load(instruction);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.StackFault));
        ulong[] frame = Pc.Frame(5);
        Assert.That((frame[0], frame[1], frame[4]), Is.EqualTo((0UL, VcpuFixture.Code, NonCanonical + 0x100)));
    }

    // §6.15, #PF: restartable.
    [TestCaseSource(nameof(StackInstructions))]
    public void A_stack_that_is_absent_is_a_page_fault(Action<Assembler> instruction)
    {
        Pc.SetGate(Vector.PageFault, HandlerOf(Vector.PageFault), stack: 1);
        State->Gpr[Gpr.Rsp] = State->Gpr[Gpr.Rbp] = Absent + 0x100;
        Pc.Load(instruction);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.PageFault));
        ulong[] frame = Pc.Frame(5);
        Assert.That((frame[1], frame[4], Register(Gpr.Rbp)),
            Is.EqualTo((VcpuFixture.Code, Absent + 0x100, Absent + 0x100)));
        Assert.That(State->Cr2 & ~0xFFFUL, Is.EqualTo(Absent));
    }

    public static IEnumerable<TestCaseData> StackInstructions =>
    [
        Stack("push", code => code.push(rax)),
        Stack("push imm", code => code.push(1)),
        Stack("push m", code => code.push(__qword_ptr[(long)Data])),
        Stack("pop", code => code.pop(rax)),
        Stack("pop m", code => code.pop(__qword_ptr[(long)Data])),
        Stack("pushf", code => code.pushfq()),
        Stack("popf", code => code.popfq()),
        Stack("call", code => code.call(VcpuFixture.Code + 0x100)),
        Stack("call far from here", code => code.call(VcpuFixture.Code + 0x3000)),
        Stack("call r", code => code.call(r8)),
        Stack("call m", code => code.call(__qword_ptr[(long)Data])),
        Stack("ret", code => code.ret()),
        Stack("enter", code => code.enter(8, 0)),
        Stack("enter, nested", code => code.enter(8, 2)),
        Stack("leave", code => code.leave()),
        Stack("load through rbp", code => code.mov(eax, __[rbp])),
        Stack("store through rsp", code => code.mov(__[rsp], eax)),
        Stack("iret", code => code.iretq()),
        Stack("pop fs", code => code.pop(fs)),
        Stack("push fs", code => code.push(fs)),
        Stack("retf", code => code.db(0x48, 0xCB)),
    ];

    static TestCaseData Stack(string name, Action<Assembler> instruction) =>
        new TestCaseData(instruction).SetArgDisplayNames(name);

    // §6.14.5: an IST stack is taken without regard to privilege; §6.14.2: the frame is aligned to 16 bytes.
    [Test]
    public void A_gate_with_an_ist_takes_its_stack()
    {
        Pc.Memory.Write64(Tss + 36, FirstIstTop + 0xB);
        Pc.SetGate(Vector.InvalidOpcode, HandlerOf(Vector.InvalidOpcode), stack: 1);
        Pc.Load(code => code.ud2());

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rsp), Is.EqualTo(FirstIstTop - 40));
        Assert.That(Pc.Frame(5)[3], Is.EqualTo(StackTop));
    }

    [TestCase(14, 0UL)]
    [TestCase(15, Rflags.Interrupt)]
    public void An_interrupt_gate_clears_if_and_a_trap_gate_does_not(int type, ulong expected)
    {
        Pc.SetGate(Vector.InvalidOpcode, HandlerOf(Vector.InvalidOpcode), type: type);
        State->SystemFlags |= Rflags.Interrupt | Rflags.NestedTask;
        Pc.Load(code => code.ud2());

        Pc.RunToHalt();

        Assert.That(State->SystemFlags & (Rflags.Interrupt | Rflags.NestedTask | Rflags.Trap | Rflags.Resume),
            Is.EqualTo(expected));
        Assert.That(Pc.Frame(5)[2] & (Rflags.Interrupt | Rflags.NestedTask),
            Is.EqualTo(Rflags.Interrupt | Rflags.NestedTask));
    }

    // §6.13: the error code of a fault met in a delivery: vector, IDT bit, and EXT where no INT n was the cause.
    [TestCase(0x00, Vector.GeneralProtection, Description = "no gate")]
    [TestCase(0x0E, Vector.SegmentNotPresent, Description = "a gate that is not present")]
    public void A_bad_gate_of_an_interrupt_instruction_faults_at_the_instruction(int gate, int vector)
    {
        Pc.Memory.Write64(Idt + 0x90 * 16, KernelCode << 16 | (ulong)gate << 40);
        Pc.Load(code => code.@int(0x90));

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(vector));
        Assert.That(Pc.Frame(2), Is.EqualTo(new ulong[] { 0x90 * 8 + 2, VcpuFixture.Code }));
        Assert.That(Pc.Clock.Now, Is.EqualTo(2));
    }

    // Table 6-5. The first fault's address stays in CR2 where the second is no page fault.
    [Test]
    public void A_fault_in_the_delivery_of_a_page_fault_is_a_double_fault()
    {
        Pc.Memory.Write64(Idt + Vector.PageFault * 16, 0);
        Pc.Load(code => code.mov(eax, __[r8]));

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.DoubleFault));
        Assert.That(Pc.Frame(1)[0], Is.Zero);
        Assert.That(State->Cr2, Is.EqualTo(Absent));
    }

    [Test]
    public void A_page_fault_in_the_delivery_of_a_page_fault_is_a_double_fault_with_its_own_address()
    {
        Pc.SetGate(Vector.DoubleFault, HandlerOf(Vector.DoubleFault), stack: 1);
        State->Gpr[Gpr.Rsp] = Absent + 0x9008;
        Pc.Load(code => code.push(rax));

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.DoubleFault));
        Assert.That(State->Cr2, Is.EqualTo(Absent + 0x8FF8), "SS is pushed first");
    }

    [Test]
    public void A_fault_in_the_delivery_of_a_benign_exception_is_served_in_its_place()
    {
        Pc.Memory.Write64(Idt + Vector.InvalidOpcode * 16, 0);
        Pc.Load(code => code.ud2());

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(Pc.Frame(2), Is.EqualTo(new ulong[] { Vector.InvalidOpcode * 8 + 3, VcpuFixture.Code }));
    }

    [Test]
    public void A_fault_in_the_delivery_of_a_double_fault_shuts_down()
    {
        State->IdtLimit = 0;
        Pc.Load(code => code.ud2());

        StopReason reason = Pc.Cpu.Run(100);

        Assert.That(reason, Is.EqualTo(StopReason.Shutdown));
    }

    [Test]
    public void A_triple_fault_of_an_interrupt_shuts_down_too()
    {
        State->IdtLimit = 0;
        State->SystemFlags |= Rflags.Interrupt;
        Pc.Interrupts.Pending.Enqueue(0x40);
        Pc.Load(code => code.nop());

        StopReason reason = Pc.Cpu.Run(100);

        Assert.That(reason, Is.EqualTo(StopReason.Shutdown));
    }

    // §6.12.1.2: only INT n, INT3 and INTO look at the gate's privilege level.
    [TestCase(0, Vector.GeneralProtection)]
    [TestCase(2, Vector.GeneralProtection)]
    [TestCase(3, 0x91)]
    public void Ring_3_may_call_a_gate_of_its_own_level_only(int dpl, int vector)
    {
        Pc.SetGate(0x91, HandlerOf(0x91), dpl);
        Pc.EnterUser();
        Pc.Load(code => code.@int(0x91), UserPages);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(vector));
        Assert.That(Pc.Frame(2)[dpl == 3 ? 0 : 1], Is.EqualTo(dpl == 3 ? UserPages + 2 : UserPages));
        if (dpl < 3) Assert.That(Pc.Frame(1)[0], Is.EqualTo(0x91 * 8 + 2));
    }

    // §6.14.2 and 6.14.4: RSP0 of the task, a null SS with the new level as RPL, the old stack in the frame.
    [Test]
    public void A_delivery_from_ring_3_changes_to_the_ring_0_stack()
    {
        Pc.EnterUser();
        Pc.Load(code => code.ud2(), UserPages);
        ulong rsp = Register(Gpr.Rsp);

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rsp), Is.EqualTo(KernelStackTop - 40));
        ulong[] frame = Pc.Frame(5);
        Assert.That((frame[0], frame[1], frame[3], frame[4]),
            Is.EqualTo((UserPages, (ulong)UserCode, rsp, (ulong)UserData)));
        Assert.That((State->SegmentSelectors[Segment.Ss], State->SegmentSelectors[Segment.Cs], State->Cpl),
            Is.EqualTo(((ushort)0, KernelCode, (byte)0)));
    }

    // §6.4.4 and vol. 2, INT3: a trap returns behind its instruction.
    [TestCase(0xCC, Vector.Breakpoint, 1)]
    [TestCase(0xF1, Vector.Debug, 1)]
    public void A_one_byte_interrupt_returns_behind_itself(int opcode, int vector, int length)
    {
        Pc.Load(code => code.db((byte)opcode));

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(vector));
        Assert.That(Pc.Frame(1)[0], Is.EqualTo(VcpuFixture.Code + (ulong)length));
    }
}
