using Iced.Intel;
using VmLab.Core;
using VmLab.X86.Tests.Guests;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Modes.ProtectedPc;

namespace VmLab.X86.Tests.Modes;

/// <summary>
/// Far jumps, calls and returns in 32-bit protected mode. Source: Intel SDM vol. 3A §5.8; vol. 2, JMP, CALL, RET, IRET.
/// </summary>
public sealed unsafe class TransferTests : ProtectedTest
{
    const uint There = ProtectedPc.Code + 0x100;

    // Vol. 2, JMP and CALL: a code segment's level and type, by the ring and the RPL that ask for it.
    [TestCase(0, Code0, NoError, Vector.InvalidOpcode)]
    [TestCase(0, (ushort)(Code0 | 3), Code0, Vector.GeneralProtection, Description = "RPL above CPL")]
    [TestCase(0, Code3, Code3 & ~3, Vector.GeneralProtection, Description = "an outer segment")]
    [TestCase(3, Code0, Code0, Vector.GeneralProtection, Description = "an inner segment")]
    [TestCase(3, Code3, NoError, Vector.InvalidOpcode)]
    [TestCase(3, (ushort)(Code3 & ~3), NoError, Vector.InvalidOpcode, Description = "a lower RPL is no matter")]
    [TestCase(3, Conforming, NoError, Vector.InvalidOpcode)]
    [TestCase(3, (ushort)(Conforming | 3), NoError, Vector.InvalidOpcode)]
    [TestCase(0, (ushort)0, 0, Vector.GeneralProtection)]
    [TestCase(0, (ushort)3, 0, Vector.GeneralProtection)]
    [TestCase(0, (ushort)0x80, 0x80, Vector.GeneralProtection, Description = "beyond the GDT")]
    [TestCase(0, (ushort)4, 4, Vector.GeneralProtection, Description = "no LDT")]
    [TestCase(0, Data0, Data0, Vector.GeneralProtection, Description = "data")]
    [TestCase(0, Local, Local, Vector.GeneralProtection, Description = "an LDT")]
    [TestCase(0, TaskState, TaskState, Vector.GeneralProtection, Description = "a busy TSS")]
    [TestCase(0, Any, Any, Vector.SegmentNotPresent, Description = "code that is not present")]
    [TestCase(0, Second, Second, Vector.GeneralProtection, Description = "an outer conforming segment")]
    public void A_direct_transfer_is_checked(int ring, ushort selector, int error, int vector)
    {
        Pc.SetDescriptor(Any, 0, FourGiB, 0x1A | Big | Pages);
        Pc.SetDescriptor(Second, 0, FourGiB, ConformingRead | Ring3 | Big | Pages);
        foreach (byte opcode in (byte[])[0xEA, 0x9A])
        {
            Pc.Load(code => code.ud2(), There);
            State->Gpr[Gpr.Rsp] = StackTop;
            Run(code => code.db([opcode, .. BitConverter.GetBytes(There), .. BitConverter.GetBytes(selector)]), ring);

            AssertFault(vector, error, vector == Vector.InvalidOpcode ? There : ProtectedPc.Code);
            if (vector != Vector.InvalidOpcode) continue;
            uint[] frame = Pc.Frame(5);
            Assert.That(frame[1], Is.EqualTo((uint)(selector & ~3 | ring)), "CS with CPL for RPL");
            if (ring == 3) Assert.That(frame[3], Is.EqualTo(opcode == 0x9A ? StackTop - 8 : StackTop));
        }
    }

    // Vol. 2, JMP, CALL: EIP beyond the new segment, before anything is pushed.
    [TestCase(0xEA)]
    [TestCase(0x9A)]
    public void A_target_beyond_its_segment_faults_at_the_transfer(int opcode)
    {
        Pc.SetDescriptor(Any, 0, 0xFFF, ExecuteRead | Big);
        Run(code => code.db([(byte)opcode, 0, 0x10, 0, 0, .. BitConverter.GetBytes(Any)]));

        AssertFault(Vector.GeneralProtection, 0);
        Assert.That(Register(Gpr.Rsp), Is.EqualTo(StackTop - 16), "the frame of the fault alone");
    }

    // §5.8.4, table 5-2; vol. 2, CALL: DPL of the gate against CPL and RPL, then the segment.
    [TestCase(12, 3, Code0, 3, NoError, Vector.InvalidOpcode)]
    [TestCase(4, 3, Code0, 3, NoError, Vector.InvalidOpcode)]
    [TestCase(12, 2, Code0, 3, Any, Vector.GeneralProtection, Description = "a gate of an inner level")]
    [TestCase(12, 0, Code0, 0, NoError, Vector.InvalidOpcode)]
    [TestCase(12, 3, Code3, 3, NoError, Vector.InvalidOpcode, Description = "no change of level")]
    [TestCase(12, 3, Code3, 0, Code3 & ~3, Vector.GeneralProtection, Description = "to an outer level")]
    [TestCase(12, 3, Conforming, 3, NoError, Vector.InvalidOpcode)]
    [TestCase(12, 3, (ushort)0, 3, 0, Vector.GeneralProtection)]
    [TestCase(12, 3, (ushort)0x80, 3, 0x80, Vector.GeneralProtection)]
    [TestCase(12, 3, Data0, 3, Data0, Vector.GeneralProtection)]
    [TestCase(12, 3, Second, 3, Second, Vector.SegmentNotPresent)]
    [TestCase(5, 3, TaskState, 3, Any, Vector.GeneralProtection, Description = "a task gate")]
    [TestCase(14, 3, Code0, 3, Any, Vector.GeneralProtection, Description = "an interrupt gate")]
    public void A_call_gate_is_checked(int type, int dpl, ushort target, int ring, int error, int vector)
    {
        Pc.SetDescriptor(Second, 0, FourGiB, 0x1A | Big | Pages);
        Pc.SetCallGate(Any, There, target, dpl, type: type);
        RunAtHome(code => code.db([0x9A, 0xFF, 0xFF, 0xFF, 0xFF, .. BitConverter.GetBytes((ushort)(Any | ring))]), ring, type);

        AssertFault(vector, error, vector == Vector.InvalidOpcode ? There & (type == 4 ? 0xFFFF : uint.MaxValue) : ProtectedPc.Code);
    }

    [Test]
    public void A_call_gate_that_is_not_present_is_told_from_one_that_may_not_be_used([Values(0, 3)] int ring)
    {
        Pc.SetCallGate(Any, There, Code0, dpl: 0);
        Pc.Pc.Memory.Write(VcpuFixture.Gdt + Any + 5, [0x0C]);
        Run(code => code.db([0x9A, 0, 0, 0, 0, .. BitConverter.GetBytes(Any)]), ring);

        AssertFault(ring == 0 ? Vector.SegmentNotPresent : Vector.GeneralProtection, Any);
    }

    // §5.8.4: a jump through a gate never changes the level.
    [TestCase(3, Code3, true)]
    [TestCase(3, Conforming, true)]
    [TestCase(3, Code0, false)]
    [TestCase(0, Code0, true)]
    public void A_jump_through_a_gate_stays_at_its_level(int ring, ushort target, bool isAllowed)
    {
        Pc.SetCallGate(Any, There, target, dpl: 3);
        Pc.Load(code => code.ud2(), There);
        Run(code => code.db([0xEA, 0, 0, 0, 0, .. BitConverter.GetBytes(Any)]), ring);

        if (!isAllowed) AssertFault(Vector.GeneralProtection, target & ~3);
        else
        {
            AssertFault(Vector.InvalidOpcode, NoError, There);
            Assert.That(Pc.Frame(2)[1] & 3, Is.EqualTo((uint)ring));
        }
    }

    // §5.8.5, figure 5-13: the new stack with the old one, the parameters, CS and EIP; RET n takes them from both.
    [Test]
    public void A_call_to_an_inner_level_copies_parameters_and_a_return_releases_them()
    {
        Pc.SetCallGate(Any, There, Code0, dpl: 3, count: 2);
        Pc.Load(code =>
        {
            code.mov(eax, __[esp + 8]);
            code.mov(ebx, __[esp + 12]);
            code.mov(ecx, __[esp + 16]);
            code.mov(edx, __[esp + 20]);
            code.mov(esi, esp);
            code.mov(ebp, ss);
            code.mov(edi, Data0);
            code.mov(ds, edi);
            code.retf(8);
        }, There);
        Run(code =>
        {
            code.push(0x1111);
            code.push(0x2222);
            code.db([0x9A, 0, 0, 0, 0, .. BitConverter.GetBytes((ushort)(Any | 3))]);
            code.mov(edi, ds);
            code.hlt();
        }, ring: 3);

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rbx), Register(Gpr.Rcx), Register(Gpr.Rdx)),
            Is.EqualTo((0x2222U, 0x1111U, StackTop - 8, (uint)Data3)));
        Assert.That((Register(Gpr.Rsi), Register(Gpr.Rbp), Register(Gpr.Rdi)), Is.EqualTo((Stack0 - 24, (uint)Data0, 0U)),
            "the inner stack, and a data segment of ring 0 taken away");
        Assert.That((Pc.Frame(6)[2], Pc.Frame(6)[4]), Is.EqualTo(((uint)Code3, StackTop)), "both parameters gone in ring 3");
    }

    [Test]
    public void A_16_bit_gate_copies_words()
    {
        Pc.SetDescriptor(Any, 0, FourGiB, ExecuteRead | Big | Pages);
        Pc.SetCallGate(Second, 0xF00, Code0, dpl: 3, count: 3, type: 4);
        Pc.Load(code => code.hlt(), 0xF00);
        Run(code =>
        {
            code.push(0x2222_1111);
            code.push(0x4444_3333);
            code.db([0x9A, 0, 0, 0, 0, .. BitConverter.GetBytes((ushort)(Second | 3))]);
        }, ring: 3);

        Assert.That(Register(Gpr.Rsp), Is.EqualTo(Stack0 - 14));
        Assert.That(Pc.Frame16(7), Is.EqualTo(new ushort[]
            { (ushort)(ProtectedPc.Code + 17 & 0xFFFF), Code3, 0x3333, 0x4444, 0x1111, (ushort)((StackTop - 8) & 0xFFFF), Data3 }));
    }

    // Vol. 2, CALL: faults of the inner stack name it, and leave the caller as it was.
    [TestCase(0U, 103U, Vector.InvalidTss, 0)]
    [TestCase((uint)Data3, 103U, Vector.InvalidTss, Data3 & ~3)]
    [TestCase((uint)Second, 103U, Vector.StackFault, Second)]
    [TestCase((uint)Data1, 16U, Vector.InvalidTss, TaskState, Description = "a TSS that ends in its SS1")]
    public void The_stack_of_a_call_gate_is_checked(uint ss, uint tssLimit, int vector, int error)
    {
        Pc.SetDescriptor(Second, 0, Stack1 - 17, Writable | Ring1 | Big);
        Pc.SetCallGate(Any, There, Code1, dpl: 3, count: 1);
        Pc.Write32(VcpuFixture.Tss + 16, ss == Second ? Second | 1U : ss);
        State->TssLimit = tssLimit;
        Run(code => code.db([0x9A, 0, 0, 0, 0, .. BitConverter.GetBytes((ushort)(Any | 3))]), ring: 3);

        AssertFault(vector, error);
        Assert.That((Pc.Frame(6)[4], Pc.Frame(6)[5]), Is.EqualTo((StackTop, (uint)Data3)));
    }

    // Vol. 2, RET and IRET: what comes from the stack is checked before any of it is loaded.
    [TestCase(Code3, Data3, NoError, Vector.InvalidOpcode)]
    [TestCase((ushort)(Conforming | 3), Data3, NoError, Vector.InvalidOpcode)]
    [TestCase((ushort)0, Data3, 0, Vector.GeneralProtection)]
    [TestCase((ushort)3, Data3, 0, Vector.GeneralProtection)]
    [TestCase((ushort)0x83, Data3, 0x80, Vector.GeneralProtection)]
    [TestCase((ushort)(Data3 | 3), Data3, Data3 & ~3, Vector.GeneralProtection)]
    [TestCase((ushort)(Code0 | 3), Data3, Code0, Vector.GeneralProtection, Description = "RPL beside DPL")]
    [TestCase((ushort)(Any | 3), Data3, Any, Vector.SegmentNotPresent)]
    [TestCase(Code3, (ushort)0, 0, Vector.GeneralProtection)]
    [TestCase(Code3, (ushort)3, 0, Vector.GeneralProtection)]
    [TestCase(Code3, (ushort)0x83, 0x80, Vector.GeneralProtection)]
    [TestCase(Code3, (ushort)(Data3 & ~3), Data3 & ~3, Vector.GeneralProtection, Description = "RPL beside that of CS")]
    [TestCase(Code3, (ushort)(Data0 | 3), Data0, Vector.GeneralProtection)]
    [TestCase(Code3, Code3, Code3 & ~3, Vector.GeneralProtection)]
    [TestCase(Code3, (ushort)(Second | 3), Second, Vector.StackFault)]
    public void A_return_to_an_outer_level_is_checked(ushort cs, ushort ss, int error, int vector)
    {
        Pc.SetDescriptor(Any, 0, FourGiB, 0x1A | Ring3 | Big | Pages);
        Pc.SetDescriptor(Second, 0, FourGiB, 0x12 | Ring3 | Big | Pages);
        Pc.Load(code => code.ud2(), There);
        foreach (bool isInterrupt in (bool[])[true, false])
        {
            uint[] frame = isInterrupt ? [There, cs, 2, 0x2_8000, ss] : [There, cs, 0x2_8000, ss];
            State->Gpr[Gpr.Rsp] = StackTop;
            for (int i = 0; i < frame.Length; i++) Pc.Write32(StackTop + 4 * (ulong)i, frame[i]);
            Run(code =>
            {
                if (isInterrupt) code.iretd();
                else code.retf();
            });

            AssertFault(vector, error, vector == Vector.InvalidOpcode ? There : ProtectedPc.Code);
            if (vector == Vector.InvalidOpcode) Assert.That(Pc.Frame(5)[3], Is.EqualTo(0x2_8000));
            else Assert.That(Register(Gpr.Rsp), Is.EqualTo(StackTop - 16), "ESP as it was, and the fault's frame");
        }
    }

    [Test]
    public void A_return_to_an_inner_level_is_refused([Values] bool isInterrupt)
    {
        State->Gpr[Gpr.Rsp] = StackTop;
        Pc.Write32(StackTop, There);
        Pc.Write32(StackTop + 4, Code0);
        Run(code =>
        {
            if (isInterrupt) code.iretd();
            else code.retf();
        }, ring: 3);

        AssertFault(Vector.GeneralProtection, Code0);
    }

    // Vol. 2, IRET: IOPL is ring 0's; IF is whose CPL is at most IOPL, judged before the return.
    [TestCase(0, 0UL, 0x3202U)]
    [TestCase(3, 0UL, 0x0002U)]
    [TestCase(3, Rflags.Iopl, 0x3202U)]
    public void Iretd_sets_flags_by_privilege(int ring, ulong iopl, uint expected)
    {
        uint cs = ring == 0 ? Code0 : Code3;
        State->SystemFlags = iopl;
        Pc.Load(code => code.ud2(), There);
        Run(code =>
        {
            code.push(0x3202);
            code.push(cs);
            code.push(There);
            code.iretd();
        }, ring);

        Assert.That(Pc.Frame(3)[2] & ~(uint)Rflags.Resume, Is.EqualTo(expected));
    }

    // Vol. 2, IRET with an operand of 16 bits: EIP and flags of a word each.
    [Test]
    public void Iret_of_16_bits_pops_words()
    {
        Pc.Load(code => code.ud2(), 0xF00);
        State->SystemFlags |= Rflags.Identification;
        State->Gpr[Gpr.Rsp] = StackTop;
        Pc.Pc.Memory.Write(StackTop, [0x00, 0x0F, (byte)Code0, 0, 0x02, 0x04]);
        Run(code => code.iret());

        AssertFault(Vector.InvalidOpcode, NoError, 0xF00);
        Assert.That(Pc.Frame(4)[2] & ~(uint)Rflags.Resume, Is.EqualTo((uint)(Rflags.Identification | Rflags.Direction | 2)));
        Assert.That(Register(Gpr.Rsp), Is.EqualTo(StackTop + 6 - 12));
    }

    // Nested tasks and virtual 8086 mode come with the BIOS; till then they are refused.
    [TestCase(Rflags.NestedTask, 1UL)]
    [TestCase(Rflags.Virtual8086, 0UL)]
    public void What_is_not_there_yet_is_a_general_protection_fault(ulong flag, ulong switches)
    {
        if (flag == Rflags.NestedTask) State->SystemFlags |= flag;
        Run(code =>
        {
            code.push((int)(flag | 2));
            code.push(Code0);
            code.push(There);
            code.iretd();
        });

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(Pc.Pc.Exits[ExitReason.TaskSwitch], Is.EqualTo(switches));
    }

    // §5.8.6: on the way out segments of inner levels are taken away, conforming code is not.
    [Test]
    public void A_return_takes_inner_data_segments_away()
    {
        Pc.Load(code => code.ud2(), There);
        Pc.SetDescriptor(Any, 0, FourGiB, ConformingRead | Big | Pages);
        State->Gpr[Gpr.Rax] = Data3;
        State->Gpr[Gpr.Rbx] = Any;
        Run(code =>
        {
            code.mov(es, eax);
            code.mov(gs, ebx);
            code.push(Data3);
            code.push(0x2_8000);
            code.push(2);
            code.push(Code3);
            code.push(There);
            code.iretd();
        });

        Assert.That((State->SegmentSelectors[Segment.Ds], State->SegmentSelectors[Segment.Fs], State->SegmentSelectors[Segment.Es],
            State->SegmentSelectors[Segment.Gs]), Is.EqualTo(((ushort)0, (ushort)0, Data3, Any)));
    }

    // Vol. 2, RET, IRET: with a stack of 16 bits SP alone is loaded.
    [Test]
    public void A_return_to_a_16_bit_stack_sets_sp_alone()
    {
        Pc.SetDescriptor(Any, 0x2_0000, 0xFFFF, Writable | Ring3);
        Pc.Load(code => code.hlt(), There);
        Run(code =>
        {
            code.push(Any | 3);
            code.push(0x1234_8000);
            code.push(Code3);
            code.push(There);
            code.retf();
        });

        Assert.That(Pc.Frame(6)[4] & 0xFFFF, Is.EqualTo(0x8000));
        Assert.That(Pc.Frame(6)[4] >> 16, Is.EqualTo(StackTop - 16 >> 16), "the rest of ESP as it was");
    }

    // As Run, with a UD2 at home for both the whole and the 16-bit offset of a gate.
    void RunAtHome(Action<Assembler> write, int ring, int type)
    {
        Pc.Load(code => code.ud2(), type == 4 ? There & 0xFFFF : There);
        Run(write, ring);
    }
}
