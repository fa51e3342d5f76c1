using Iced.Intel;
using VmLab.X86.Tests.Guests;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Modes;

/// <summary>
/// Gates, far transfers and branches of long mode. Source: Intel SDM vol. 3A §5.8.3.1, §6.14; vol. 2, by mnemonic.
/// </summary>
public sealed unsafe class LongTransferTests : GuestTest
{
    const ulong There = VcpuFixture.Code + 0x100, Edge = 0x7FFF_FFFF_F000;
    const ushort Gate = 0x50;   // and 0x58, its upper half

    [SetUp]
    public void ExtendTable() => State->GdtLimit = 0x5F;

    // §6.14.4: a TSS that ends before the pointer it is asked for.
    [TestCase(0, 10U, Description = "RSP0")]
    [TestCase(1, 42U, Description = "the first of the IST")]
    public void A_task_state_that_ends_too_early_is_an_invalid_tss(int stack, uint limit)
    {
        Pc.SetGate(Vector.InvalidOpcode, HandlerOf(Vector.InvalidOpcode), stack: stack);
        // Served in ring 3 by conforming code, which needs no stack of the task.
        Pc.Memory.Write64(Gdt + Gate, 0x00AF_9F00_0000_FFFF);
        Pc.SetGate(Vector.InvalidTss, UserPages + 0x100, selector: Gate);
        Pc.EnterUser();
        State->TssLimit = limit;
        Pc.Load(code => code.ud2(), UserPages);

        Pc.Cpu.Run(1);   // the one delivery

        Assert.That((State->Rip, State->Cpl), Is.EqualTo((UserPages + 0x100, (byte)3)));
        Assert.That(Pc.Frame(2), Is.EqualTo(new[] { TaskState | 1UL, UserPages }));
    }

    // §6.14.1: a handler's segment is of 64 bits.
    [Test]
    public void A_handler_s_segment_must_be_of_64_bits()
    {
        Pc.SetGate(0x90, There, selector: KernelCode32);
        Pc.Load(code => code.@int(0x90));

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, Pc.Frame(1)[0]), Is.EqualTo((Vector.GeneralProtection, (ulong)KernelCode32)));
    }

    // §5.8.3.1: a call gate of 16 bytes; the stack is the task's, SS null, no parameters.
    [Test]
    public void A_call_gate_leads_to_ring_0_and_retf_back()
    {
        SetCallGate(There, KernelCode, dpl: 3);
        Pc.EnterUser();
        State->Gpr[Gpr.Rbx] = UserPages + 0x800;
        Pc.Memory.Write(UserPages + 0x804, [Gate | 3, 0]);
        Pc.Load(code =>
        {
            code.call(__fword_ptr[rbx]);
            code.hlt();
        }, UserPages);
        Pc.Load(code =>
        {
            code.mov(rax, rsp);
            code.mov(ecx, ss);
            code.mov(rdx, __[rsp + 16]);
            code.mov(rsi, __[rsp + 24]);
            code.db(0x48, 0xCB);   // RETF of 64 bits
        }, There);
        ulong userStack = Register(Gpr.Rsp);

        Pc.RunToHalt();

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rcx), Register(Gpr.Rdx), Register(Gpr.Rsi)),
            Is.EqualTo((KernelStackTop - 32, 0UL, userStack, (ulong)UserData)));
        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection), "HLT in ring 3");
        Assert.That((Pc.Frame(6)[1], Pc.Frame(6)[4]), Is.EqualTo((UserPages + 2, userStack)));
    }

    [TestCase(0x8C, 0, KernelCode, There, 0x5F, Gate, Description = "DPL 0")]
    [TestCase(0xEC, 1, KernelCode, There, 0x5F, Gate, Description = "a type in the upper half")]
    [TestCase(0xEC, 0, KernelCode, There, 0x5E, Gate, Description = "an upper half beyond the GDT")]
    [TestCase(0xE4, 0, KernelCode, There, 0x5F, Gate, Description = "a gate of 16 bits")]
    [TestCase(0xEC, 0, KernelCode32, There, 0x5F, KernelCode32, Description = "code of 32 bits")]
    [TestCase(0xEC, 0, KernelData, There, 0x5F, KernelData, Description = "data")]
    [TestCase(0xEC, 0, (ushort)0, There, 0x5F, 0, Description = "a null selector")]
    [TestCase(0xEC, 0, KernelCode, 0x8000_0000_0000UL, 0x5F, 0, Description = "an offset that is not canonical")]
    public void A_call_gate_is_checked(int rights, int upperType, ushort target, ulong offset, int limit, int error)
    {
        SetCallGate(offset, target, dpl: 3);
        Pc.Memory.Write(Gdt + Gate + 5, [(byte)rights]);
        Pc.Memory.Write(Gdt + Gate + 13, [(byte)upperType]);
        State->GdtLimit = (uint)limit;
        Pc.EnterUser();
        Pc.Memory.Write(UserPages + 0x804, [Gate | 3, 0]);
        State->Gpr[Gpr.Rbx] = UserPages + 0x800;
        Pc.Load(code => code.call(__fword_ptr[rbx]), UserPages);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(Pc.Frame(2), Is.EqualTo(new[] { (ulong)error, UserPages }));
    }

    // Vol. 2, CALL: #SS(0) where the stack is not canonical; nothing is loaded.
    [Test]
    public void A_far_call_on_a_stack_that_is_not_canonical_is_a_stack_fault()
    {
        Pc.SetGate(Vector.StackFault, HandlerOf(Vector.StackFault), stack: 1);
        Pc.Memory.Write(Data + 4, [(byte)KernelCode, 0]);
        State->Gpr[Gpr.Rsp] = 0x8000_0000_0004;
        State->Gpr[Gpr.Rbx] = Data;
        Pc.Load(code => code.call(__fword_ptr[rbx]));

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, Pc.Frame(2)[0], Pc.Frame(2)[1]), Is.EqualTo((Vector.StackFault, 0UL, VcpuFixture.Code)));
    }

    // Vol. 2, IRET, RET: back to compatibility mode the offset is held against the limit, and a null SS is refused.
    [TestCase(UserCode32, 0x1_0000UL, UserData, 0)]
    [TestCase(UserCode32, UserPages, (ushort)3, 0)]
    [TestCase(Gate, UserPages, UserData, Gate, Description = "L and D together")]
    public void A_return_to_compatibility_mode_is_checked(ushort cs, ulong rip, ushort ss, int error)
    {
        Pc.Memory.Write64(Gdt + (UserCode32 & ~7UL), 0x0040_FB00_0000_FFFF);
        Pc.Memory.Write64(Gdt + Gate, 0x00EF_FB00_0000_FFFF);
        ulong[] frame = [rip, cs | 3UL, 2, UserPages, ss];
        for (int i = 0; i < 5; i++) Pc.Memory.Write64(StackTop - 40 + 8 * (ulong)i, frame[i]);
        State->Gpr[Gpr.Rsp] = StackTop - 40;
        Pc.Load(code => code.iretq());

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(Pc.Frame(2), Is.EqualTo(new[] { (ulong)error, VcpuFixture.Code }));
    }

    // Vol. 2, JMP, Jcc, CALL, LOOP: #GP(0) at the branch, which has done nothing, when the target is not canonical.
    [TestCaseSource(nameof(EdgeBranches))]
    public void A_branch_over_the_canonical_edge_faults_where_it_stands(Action<Assembler> branch)
    {
        Pc.Map(Edge, 0x50_0000, Present | Writable);
        var assembler = new Assembler(64);
        branch(assembler);
        using var bytes = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(bytes), 0x50_0FE0);
        Pc.Memory.Write(0x50_0FE0, bytes.ToArray());
        State->Gpr[Gpr.Rcx] = 5;
        Flags.SetArithmetic(State, Rflags.Zero);
        State->Rip = Edge + 0xFE0;

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That((Pc.Frame(5)[0], Pc.Frame(5)[1], Pc.Frame(5)[4]), Is.EqualTo((0UL, Edge + 0xFE0, StackTop)));
        Assert.That((Register(Gpr.Rcx), Pc.Memory.Read64(StackTop - 56)), Is.EqualTo((5UL, 0UL)), "no count, no push");
        Assert.That(Pc.Clock.Now, Is.EqualTo(2), "the delivery and the HLT");
    }

    public static IEnumerable<TestCaseData> EdgeBranches =>
    [
        Of("jmp", code => code.jmp(0x50_1010)),
        Of("jz", code => code.jz(0x50_1010)),
        Of("call", code => code.call(0x50_1010)),
        Of("loop", code => code.loop(0x50_1010)),
    ];

    // Straight on over the edge the next instruction faults, not the last.
    [Test]
    public void Running_over_the_canonical_edge_faults_behind_it()
    {
        Pc.Map(Edge, 0x50_0000, Present | Writable);
        Pc.Memory.Write(0x50_0FFF, [0x90]);
        State->Rip = Edge + 0xFFF;

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, Pc.Frame(2)[1]), Is.EqualTo((Vector.GeneralProtection, 0x8000_0000_0000UL)));
    }

    // Vol. 2, CALL, direct, to a good page elsewhere: the fast way and the slow way push alike.
    [Test]
    public void A_call_to_another_page_pushes_where_it_returns([Values(1, 2)] int times)
    {
        Pc.Load(code => code.ret(), VcpuFixture.Code + 0x2000);
        Pc.Load(code =>
        {
            for (int i = 0; i < times; i++) code.call(VcpuFixture.Code + 0x2000);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That((State->Rip, Register(Gpr.Rsp), Pc.Memory.Read64(StackTop - 8)),
            Is.EqualTo((VcpuFixture.Code + 5 * (ulong)times + 1, StackTop, VcpuFixture.Code + 5 * (ulong)times)));
    }

    // Vol. 3A §6.15, #SS: by the base register alone; ES, CS, SS and DS overrides are no matter in 64-bit mode (vol. 1 §3.3.7.1).
    [TestCase(new byte[] { 0x8B, 0x45, 0x00 }, Vector.StackFault, Description = "by RBP")]
    [TestCase(new byte[] { 0x3E, 0x8B, 0x45, 0x00 }, Vector.StackFault, Description = "DS and RBP")]
    [TestCase(new byte[] { 0x36, 0x8B, 0x03 }, Vector.GeneralProtection, Description = "SS and RBX")]
    [TestCase(new byte[] { 0x64, 0x8B, 0x45, 0x00 }, Vector.GeneralProtection, Description = "FS and RBP")]
    public void The_base_register_tells_a_stack_fault(byte[] load, int vector)
    {
        State->Gpr[Gpr.Rbp] = State->Gpr[Gpr.Rbx] = 0x8000_0000_0000;
        Pc.Load(code => code.db(load));

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, Pc.Frame(2)[0], Pc.Frame(2)[1]), Is.EqualTo((vector, 0UL, VcpuFixture.Code)));
    }

    // §6.7.1: an IRET lets NMIs in again, though it fault itself.
    [Test]
    public void A_faulting_iret_unblocks_nmis()
    {
        State->NmiBlocked = 1;
        State->Gpr[Gpr.Rsp] = StackTop - 40;   // zeros: a null CS
        Pc.Load(code => code.iretq());

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, State->NmiBlocked), Is.EqualTo((Vector.GeneralProtection, (byte)0)));
    }

    // Vol. 2, LAR and LTR in long mode: 286 types and gates of 32 bits are not seen; a TSS has a base of 64 bits, canonical.
    [TestCase(0x89, true)]
    [TestCase(0x82, true)]
    [TestCase(0x8C, true)]
    [TestCase(0x81, false)]
    [TestCase(0x84, false)]
    [TestCase(0x85, false)]
    public void Lar_sees_the_types_of_long_mode(int rights, bool isSeen)
    {
        Pc.Memory.Write64(Gdt + Gate, (ulong)rights << 40);
        State->Gpr[Gpr.Rax] = Gate;
        Pc.Load(code =>
        {
            code.lar(ecx, eax);
            code.setz(bl);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rbx) & 1, Is.EqualTo(isSeen ? 1UL : 0UL));
    }

    [TestCase(0UL, false)]
    [TestCase(0xFFFF_8000UL, false)]
    [TestCase(0x0000_8000UL, true, Description = "not canonical")]
    [TestCase(0x0000_0100_0000_0000UL, true, Description = "a type in the upper half")]
    public void Ltr_takes_a_canonical_base(ulong upper, bool faults)
    {
        Pc.Memory.Write64(Gdt + Gate, 103 | 0x89UL << 40);
        Pc.Memory.Write64(Gdt + Gate + 8, upper);
        State->Gpr[Gpr.Rax] = Gate;
        Pc.Load(code =>
        {
            code.ltr(ax);
            code.hlt();
        });

        Pc.RunToHalt();

        if (faults) Assert.That((Pc.HaltedVector, Pc.Frame(1)[0]), Is.EqualTo((Vector.GeneralProtection, (ulong)Gate)));
        else Assert.That(State->TssBase, Is.EqualTo(upper << 32));
        Assert.That(Pc.Memory.Read64(Gdt + Gate) >> 41 & 1, Is.EqualTo(faults ? 0UL : 1UL), "busy");
    }

    static TestCaseData Of(string name, Action<Assembler> branch) => new TestCaseData(branch).SetArgDisplayNames(name);

    void SetCallGate(ulong target, ushort selector, int dpl)
    {
        Pc.Memory.Write64(Gdt + Gate, target & 0xFFFF | (ulong)selector << 16 | (ulong)(0x8C | dpl << 5) << 40
            | (target & 0xFFFF_0000) << 32);
        Pc.Memory.Write64(Gdt + Gate + 8, target >> 32);
    }
}
