using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// Ways between rings and modes, and what an outer ring may not do. Source: Intel SDM vol. 2 by mnemonic, vol. 3A
/// chapter 5.
/// </summary>
public sealed unsafe class PrivilegeTests : GuestTest
{
    const byte Done = 0x80;
    const ulong UserStack = UserPages + 0x3000;

    // Vol. 2, IRET, "RETURN-TO-OUTER-PRIVILEGE-LEVEL".
    [Test]
    public void Iretq_goes_to_ring_3_and_back()
    {
        Pc.SetGate(Done, HandlerOf(Done), dpl: 3);
        MapUser();
        Pc.Load(code =>
        {
            code.mov(eax, 0x77);
            code.@int(Done);
        }, UserPages);
        Pc.Load(code =>
        {
            code.push(UserData);
            code.push((int)UserStack);
            code.push(0x202);
            code.push(UserCode);
            code.push((int)UserPages);
            code.iretq();
        });

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Done));
        Assert.That(Register(Gpr.Rax), Is.EqualTo(0x77));
        Assert.That(Pc.Frame(5), Is.EqualTo(new ulong[] { UserPages + 7, UserCode, 0x202, UserStack, UserData }));
    }

    // Vol. 2, IRET: SS and RSP are popped in 64-bit mode even without a change of level; NT is #GP(0) in long mode.
    [Test]
    public void Iretq_in_ring_0_takes_its_stack_from_the_frame()
    {
        Pc.Load(code =>
        {
            code.push(0);                       // a null SS is good enough for ring 0
            code.push((int)StackTop - 0x800);
            code.push(0x2);
            code.push(KernelCode);
            code.push((int)VcpuFixture.Code + 0x100);
            code.iretq();
        });
        Pc.Load(code => code.hlt(), VcpuFixture.Code + 0x100);

        Pc.RunToHalt();

        Assert.That((State->Rip, Register(Gpr.Rsp)), Is.EqualTo((VcpuFixture.Code + 0x101, StackTop - 0x800)));
        Assert.That(State->SegmentSelectors[Segment.Ss], Is.Zero);
    }

    [Test]
    public void Iretq_with_nested_task_is_refused()
    {
        State->SystemFlags |= Rflags.NestedTask;
        Pc.Load(code => code.iretq());

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(Pc.Frame(2), Is.EqualTo(new ulong[] { 0, VcpuFixture.Code }));
    }

    [TestCase((ulong)UserCode, 0x8000_0000_0000UL, (ulong)UserData, 0UL, Description = "RIP that is not canonical")]
    [TestCase((ulong)UserCode, UserPages, 0UL, 0UL, Description = "a null SS for ring 3")]
    [TestCase((ulong)UserCode, UserPages, (ulong)KernelData, (ulong)KernelData,
        Description = "an SS of ring 0 for ring 3")]
    [TestCase(0UL, UserPages, (ulong)UserData, 0UL, Description = "a null CS")]
    [TestCase((ulong)UserData, UserPages, (ulong)UserData, 0x20UL, Description = "data for CS")]
    [TestCase(0x48UL, UserPages, (ulong)UserData, 0x48UL, Description = "a CS beyond the table")]
    public void Iretq_checks_what_it_pops(ulong cs, ulong rip, ulong ss, ulong error)
    {
        ulong[] frame = [rip, cs, 2, UserStack, ss];
        for (int i = 0; i < 5; i++) Pc.Memory.Write64(StackTop - 40 + 8 * (ulong)i, frame[i]);
        State->Gpr[Gpr.Rsp] = StackTop - 40;
        Pc.Load(code => code.iretq());

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(Pc.Frame(2), Is.EqualTo(new[] { error, VcpuFixture.Code }));
        Assert.That(Pc.Frame(6)[4], Is.EqualTo(StackTop - 40), "RSP as it was");
    }

    // Vol. 2, IRET and POPF: ring 3 changes neither IOPL nor, with IOPL below, IF.
    [Test]
    public void Popf_of_ring_3_leaves_if_and_iopl()
    {
        Pc.SetGate(Done, HandlerOf(Done), dpl: 3);
        Pc.EnterUser();
        State->SystemFlags |= Rflags.Interrupt;
        Pc.Load(code =>
        {
            code.push(0x3CD7);
            code.popfq();
            code.@int(Done);
        }, UserPages);

        Pc.RunToHalt();

        Assert.That(Pc.Frame(3)[2], Is.EqualTo(0xED7));
    }

    // Vol. 2, SYSCALL: RCX, R11, the mask; CS and SS from STAR; the stack stays. SYSRET is the way back.
    [Test]
    public void Syscall_and_sysret_go_there_and_back()
    {
        const ulong Entry = VcpuFixture.Code + 0x400;
        Pc.SetGate(Done, HandlerOf(Done), dpl: 3);
        Pc.EnterUser();
        State->Star = (ulong)KernelCode << 32 | (ulong)(UserCode32 & ~3) << 48;
        State->Lstar = Entry;
        State->SyscallMask = Rflags.Interrupt | Rflags.Direction | Rflags.Trap;
        State->SystemFlags |= Rflags.Interrupt;
        Pc.Load(code =>
        {
            code.std();
            code.stc();
            code.syscall();
            code.@int(Done);
        }, UserPages);
        Pc.Load(code =>
        {
            code.pushfq();
            code.pop(r8);
            code.mov(r9, rsp);
            code.mov(eax, cs);
            code.mov(ebx, ss);
            code.sysretq();
        }, Entry);
        ulong userStack = Register(Gpr.Rsp);

        Pc.RunToHalt();

        Assert.That((Register(Gpr.Rcx), Register(9), Register(Gpr.Rax), Register(Gpr.Rbx)),
            Is.EqualTo((UserPages + 4, userStack, (ulong)KernelCode, (ulong)KernelData)));
        Assert.That(Register(Gpr.R11) & 0xFFFF,
            Is.EqualTo(Rflags.Direction | Rflags.Interrupt | Rflags.Carry | Rflags.Fixed | Register(Gpr.R11) & 0xD4));
        Assert.That(Register(Gpr.R8) & (Rflags.Interrupt | Rflags.Direction), Is.Zero, "masked in the kernel");
        ulong[] frame = Pc.Frame(5);
        Assert.That((frame[0], frame[1], frame[3], frame[4]),
            Is.EqualTo((UserPages + 6, (ulong)UserCode, userStack, (ulong)UserData)));
        Assert.That(frame[2] & (Rflags.Interrupt | Rflags.Direction), Is.EqualTo(Rflags.Interrupt | Rflags.Direction),
            "and given back");
    }

    [Test]
    public void Sysret_to_an_address_that_is_not_canonical_faults_in_ring_0()
    {
        State->Gpr[Gpr.Rcx] = 0x8000_0000_0000;
        Pc.Load(code => code.sysretq());

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, Pc.Frame(2)[1], State->Cpl),
            Is.EqualTo((Vector.GeneralProtection, VcpuFixture.Code, (byte)0)));
    }

    [Test]
    public void Syscall_without_efer_sce_is_undefined()
    {
        State->Efer &= ~Efer.SystemCall;
        Pc.Load(code => code.syscall());

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.InvalidOpcode));
    }

    // Vol. 3A §5.9: privileged instructions; vol. 1 §19.5: I/O needs IOPL or the task's permission map.
    [TestCaseSource(nameof(Privileged))]
    public void Ring_3_may_not(Action<Assembler> instruction, int vector)
    {
        Pc.EnterUser();
        Pc.Load(instruction, UserPages);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(vector));
        ulong[] frame = Pc.Frame(2);
        Assert.That(frame[vector == Vector.GeneralProtection ? 1 : 0], Is.EqualTo(UserPages));
        if (vector == Vector.GeneralProtection) Assert.That(frame[0], Is.Zero);
    }

    public static IEnumerable<TestCaseData> Privileged =>
    [
        Of("hlt", code => code.hlt()),
        Of("cli", code => code.cli()),
        Of("sti", code => code.sti()),
        Of("in", code => code.@in(al, 0x80)),
        Of("out", code => code.@out(0x80, al)),
        Of("mov cr0", code => code.mov(cr0, rax)),
        Of("mov from cr3", code => code.mov(rax, cr3)),
        Of("mov dr7", code => code.mov(dr7, rax)),
        Of("wrmsr", code => code.wrmsr()),
        Of("rdmsr", code => code.rdmsr()),
        Of("lgdt", code => code.lgdt(__[rsp])),
        Of("lidt", code => code.lidt(__[rsp])),
        Of("lldt", code => code.lldt(ax)),
        Of("ltr", code => code.ltr(ax)),
        Of("lmsw", code => code.lmsw(ax)),
        Of("clts", code => code.clts()),
        Of("invlpg", code => code.invlpg(__[rsp])),
        Of("wbinvd", code => code.wbinvd()),
        Of("swapgs", code => code.swapgs()),
        Of("sysret", code => code.sysretq()),
        Of("stac", code => code.stac(), Vector.InvalidOpcode),
    ];

    [Test]
    public void Ring_3_may_use_the_ports_that_its_task_permits()
    {
        Pc.SetGate(Done, HandlerOf(Done), dpl: 3);
        State->TssLimit = 104 + 0x20;
        Pc.Memory.Write(Tss + 102, [104, 0]);
        for (ulong i = 0; i <= 0x20; i++) Pc.Memory.Write(Tss + 104 + i, [0xFF]);
        Pc.Memory.Write(Tss + 104 + 0x10, [0xFB]);   // port 0x82 only
        Pc.EnterUser();
        Pc.Load(code =>
        {
            code.@in(al, 0x82);
            code.@in(al, 0x83);
        }, UserPages);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(Pc.Frame(2)[1], Is.EqualTo(UserPages + 2));
    }

    [Test]
    public void Swapgs_exchanges_the_bases()
    {
        State->SegmentBases[Segment.Gs] = Data;
        State->KernelGsBase = Data + 0x1000;
        Pc.Memory.Write64(Data + 0x1008, 0xABC);
        Pc.Load(code =>
        {
            code.swapgs();
            code.mov(rax, __.gs[8]);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That((Register(Gpr.Rax), State->KernelGsBase), Is.EqualTo((0xABCUL, Data)));
    }

    static TestCaseData Of(string name, Action<Assembler> instruction, byte vector = Vector.GeneralProtection) =>
        new TestCaseData(instruction, (int)vector).SetArgDisplayNames(name);

    void MapUser()
    {
        for (ulong page = UserPages; page < UserPages + 0x4000; page += 0x1000)
            Pc.Map(page, page, Present | Writable | User);
    }
}
