using Iced.Intel;
using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// Control, debug and model-specific registers, tables, selectors. Source: Intel SDM vol. 2, by mnemonic.
/// </summary>
public sealed unsafe class SystemInstructionTests : GuestTest
{
    [Test]
    public void Tables_are_stored_as_they_were_loaded()
    {
        Pc.Memory.Write(Data,
            [0x47, 0, .. BitConverter.GetBytes(Gdt), 0, 0, 0, 0, 0, 0, 0xFF, 0x0F, .. BitConverter.GetBytes(Idt)]);
        Run(code =>
        {
            code.lgdt(__[(long)Data]);
            code.lidt(__[(long)Data + 16]);
            code.sgdt(__[(long)Data + 0x100]);
            code.sidt(__[(long)Data + 0x110]);
        });

        Assert.That(Bytes(Data + 0x100, 10), Is.EqualTo(Bytes(Data, 10)));
        Assert.That(Bytes(Data + 0x110, 10), Is.EqualTo(Bytes(Data + 16, 10)));
    }

    [Test]
    public void A_table_s_base_must_be_canonical()
    {
        Pc.Memory.Write64(Data + 2, 0x8000_0000_0000);
        Run(code => code.lgdt(__[(long)Data]));

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(State->GdtBase, Is.EqualTo(Gdt));
    }

    [Test]
    public void User_mode_instruction_prevention_hides_the_tables_from_ring_3()
    {
        State->Cr4 |= Cr4.UserModeInstructionPrevention;
        Pc.EnterUser();
        Pc.Load(code => code.sgdt(__[rsp - 16]), UserPages);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
    }

    [Test]
    public void The_status_word_sets_protection_and_never_clears_it()
    {
        Run(code =>
        {
            code.xor(eax, eax);
            code.lmsw(ax);
            code.smsw(rbx);
            code.mov(eax, 8);
            code.lmsw(ax);
            code.smsw(ecx);
            code.clts();
            code.smsw(edx);
        });

        Assert.That(Register(Gpr.Rbx) & 0xF, Is.EqualTo(1));
        Assert.That(Register(Gpr.Rcx), Is.EqualTo(State->Cr0 | 8), "all of CR0 in 32 bits");
        Assert.That(Register(Gpr.Rdx) & 8, Is.Zero);
    }

    [Test]
    public void Cr0_keeps_et_and_refuses_to_leave_64_bit_mode()
    {
        Run(code =>
        {
            code.mov(rax, cr0);
            code.and(eax, ~0x10);
            code.mov(cr0, rax);
            code.mov(rbx, cr0);
            code.btr(rax, 31);
            code.mov(cr0, rax);
        });

        Assert.That(Register(Gpr.Rbx) & Cr0.ExtensionType, Is.Not.Zero);
        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(State->Cr0 & Cr0.Paging, Is.Not.Zero);
    }

    [Test]
    public void Cr8_is_the_interrupt_source_s_priority()
    {
        Run(code =>
        {
            code.mov(eax, 9);
            code.mov(cr8, rax);
            code.mov(rbx, cr8);
        });

        Assert.That((Pc.Interrupts.Priority, Register(Gpr.Rbx)), Is.EqualTo(((byte)9, 9UL)));
    }

    // Vol. 3A table 9-1.
    [Test]
    public void Flags_are_clear_after_a_reset() => Assert.That(Pc.Cpu.RflagsValue, Is.EqualTo(Rflags.Fixed));

    // Vol. 3A §18.2: the reserved bits of DR6 and DR7; DR4 and DR5 name them unless CR4.DE is set.
    [Test]
    public void Debug_registers_keep_their_reserved_bits()
    {
        Run(code =>
        {
            code.xor(eax, eax);
            code.mov(dr6, rax);
            code.mov(dr7, rax);
            code.mov(rbx, dr6);
            code.mov(rcx, dr7);
            code.mov(rdx, dr4);
            code.mov(eax, 0x1234);
            code.mov(dr3, rax);
            code.mov(rsi, dr3);
        });

        ulong[] read = [Register(Gpr.Rbx), Register(Gpr.Rcx), Register(Gpr.Rdx), Register(Gpr.Rsi)];
        Assert.That(read, Is.EqualTo(new ulong[] { 0xFFFF_0FF0, 0x400, 0xFFFF_0FF0, 0x1234 }));
    }

    [Test]
    public void Dr4_is_undefined_under_debug_extensions()
    {
        State->Cr4 |= Cr4.DebugExtensions;
        Run(code => code.mov(rax, dr4));

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.InvalidOpcode));
    }

    [TestCase(Msr.Lstar, 0xFFFF_8000_1234_5678UL)]
    [TestCase(Msr.Star, 0x0023_0010_0000_0000UL)]
    [TestCase(Msr.SyscallMask, 0x4_7700UL)]
    [TestCase(Msr.FsBase, 0x7FFF_FFFF_0000UL)]
    [TestCase(Msr.GsBase, 0xFFFF_8880_0000_0000UL)]
    [TestCase(Msr.KernelGsBase, 0xFFFF_8881_0000_0000UL)]
    [TestCase(Msr.SysenterRsp, 0xFFFF_8882_0000_0000UL)]
    [TestCase(Msr.Pat, 0x0007_0106_0007_0106UL)]
    [TestCase(Msr.TscAux, 0x77UL)]
    public void A_model_specific_register_reads_as_it_was_written(uint index, ulong value)
    {
        Run(code =>
        {
            code.mov(ecx, index);
            code.mov(eax, (uint)value);
            code.mov(edx, (uint)(value >> 32));
            code.wrmsr();
            code.xor(eax, eax);
            code.xor(edx, edx);
            code.rdmsr();
        });

        Assert.That(Register(Gpr.Rdx) << 32 | Register(Gpr.Rax), Is.EqualTo(value));
    }

    [TestCase(Msr.Lstar, 0x8000_0000_0000UL)]
    [TestCase(Msr.GsBase, 0xFFFF_0000_0000_0000UL)]
    [TestCase(Msr.Pat, 0x02UL)]
    [TestCase(Msr.TscAux, 0x1_0000_0000UL)]
    [TestCase(Msr.Efer, 0x8000_0000UL)]
    [TestCase(Msr.Efer, 0UL)]
    public void A_model_specific_register_refuses(uint index, ulong value)
    {
        Run(code =>
        {
            code.mov(ecx, index);
            code.mov(eax, (uint)value);
            code.mov(edx, (uint)(value >> 32));
            code.wrmsr();
        });

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
    }

    [Test]
    public void A_written_time_stamp_counter_counts_on()
    {
        Run(code =>
        {
            code.mov(ecx, Msr.TimeStampCounter);
            code.mov(eax, 1000);
            code.xor(edx, edx);
            code.wrmsr();
            code.nop();
            code.rdtsc();
        });

        Assert.That(Register(Gpr.Rax), Is.EqualTo(1002));
    }

    [Test]
    public void Cr4_tsd_keeps_the_time_stamp_counter_from_ring_3()
    {
        State->Cr4 |= Cr4.TimeStampDisable;
        Pc.EnterUser();
        Pc.Load(code => code.rdtsc(), UserPages);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
    }

    [Test]
    public void Segment_bases_are_read_and_written()
    {
        State->Cr4 |= Cr4.FsGsBase;
        Pc.Memory.Write64(Data + 0x18, 0x4711);
        Run(code =>
        {
            code.mov(rax, Data);
            code.wrfsbase(rax);
            code.rdfsbase(rbx);
            code.mov(rcx, __.fs[0x18]);
            code.mov(rax, 0x8000_0000_0000);
            code.wrgsbase(rax);
        });

        Assert.That((Register(Gpr.Rbx), Register(Gpr.Rcx)), Is.EqualTo((Data, 0x4711UL)));
        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
    }

    // Vol. 2, LAR and LSL: rights in bits 8 to 23, the limit in bytes, ZF for success.
    [TestCase(KernelCode, 0xAF9B00UL, 0xFFFF_FFFFUL)]
    [TestCase(UserData, 0xCFF300UL, 0xFFFF_FFFFUL)]
    [TestCase(TaskState, 0x8900UL, 103UL)]
    public void Rights_and_limits_are_told(int selector, ulong rights, ulong limit)
    {
        Run(code =>
        {
            code.mov(ecx, selector);
            code.lar(eax, ecx);
            code.sete(r8b);
            code.lsl(ebx, ecx);
            code.sete(r9b);
        });

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rbx)), Is.EqualTo((rights & 0xFF_FF00, limit)));
        Assert.That((Register(8) & 1, Register(9) & 1), Is.EqualTo((1UL, 1UL)));
    }

    [TestCase(0)]
    [TestCase(0xFFF8)]
    [TestCase(KernelCode | 3)]
    public void Nothing_is_told_of_what_may_not_be_seen(int selector)
    {
        Run(code =>
        {
            code.mov(eax, 0x55);
            code.mov(ecx, selector);
            code.lar(eax, ecx);
            code.sete(r8b);
        });

        Assert.That((Register(Gpr.Rax), Register(8) & 1), Is.EqualTo((0x55UL, 0UL)));
    }

    [TestCase(KernelCode, true, false)]
    [TestCase(UserData, true, true)]
    [TestCase(TaskState, false, false)]
    public void Segments_are_verified(int selector, bool isReadable, bool isWritable)
    {
        Run(code =>
        {
            code.mov(ecx, selector);
            code.verr(cx);
            code.sete(r8b);
            code.verw(cx);
            code.sete(r9b);
        });

        Assert.That((Register(8) & 1, Register(9) & 1), Is.EqualTo((isReadable ? 1UL : 0, isWritable ? 1UL : 0)));
    }

    [Test]
    public void A_loaded_task_is_busy_and_not_loaded_twice()
    {
        Run(code =>
        {
            code.mov(eax, TaskState);
            code.ltr(ax);
            code.str(rbx);
            code.ltr(ax);
        });

        Assert.That(Register(Gpr.Rbx), Is.EqualTo(TaskState));
        Assert.That(Pc.Memory.Read64(Gdt + TaskState) >> 40 & 0xF, Is.EqualTo(0xB));
        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
        Assert.That(Pc.Frame(1)[0], Is.EqualTo(TaskState));
    }

    [Test]
    public void A_segment_of_the_local_table_is_loaded()
    {
        State->GdtLimit = 0x5F;
        Pc.Memory.Write64(Gdt + 0x50, 0xF | Data << 16 | 0x82UL << 40);
        Pc.Memory.Write64(Data + 8, 0x00CF_9200_0000_FFFF | 0x1234_0000UL);
        Run(code =>
        {
            code.mov(eax, 0x50);
            code.lldt(ax);
            code.mov(eax, 0xC);
            code.mov(fs, eax);
            code.mov(ebx, fs);
        });

        Assert.That((Register(Gpr.Rbx), State->SegmentBases[Segment.Fs]), Is.EqualTo((0xCUL, 0x1234UL)));
        Assert.That(Pc.Memory.Read64(Data + 8) >> 40 & 1, Is.EqualTo(1), "accessed");
    }

    [Test]
    public void A_segment_that_is_not_present_is_told_apart()
    {
        State->GdtLimit = 0x57;
        Pc.Memory.Write64(Gdt + 0x50, 0x00CF_1300_0000_FFFF);
        Run(code =>
        {
            code.mov(eax, 0x50);
            code.mov(ds, eax);
        });

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.SegmentNotPresent));
        Assert.That(Pc.Frame(1)[0], Is.EqualTo(0x50));
    }

    [Test]
    public void A_far_call_returns_far()
    {
        Pc.Memory.Write(Data,
            [.. BitConverter.GetBytes((uint)VcpuFixture.Code + 0x400), .. BitConverter.GetBytes(KernelCode)]);
        Pc.Load(code =>
        {
            code.mov(rbx, __[rsp]);
            code.mov(rcx, __[rsp + 4]);
            code.db(0xCB);   // of 32 bits, as the call is
        }, VcpuFixture.Code + 0x400);
        Run(code =>
        {
            code.call(__fword_ptr[(long)Data]);
            code.mov(edx, 5);
        });

        Assert.That((Register(Gpr.Rbx) & uint.MaxValue, Register(Gpr.Rcx) & 0xFFFF),
            Is.EqualTo((VcpuFixture.Code + 7, (ulong)KernelCode)));
        Assert.That((Register(Gpr.Rdx), Register(Gpr.Rsp)), Is.EqualTo((5UL, StackTop)));
    }

    [TestCase(4UL, 0UL)]
    [TestCase(0UL, 0x1000UL)]
    [TestCase(0UL, 1UL, Description = "a PCID without CR4.PCIDE")]
    public void Invpcid_refuses(ulong kind, ulong pcid)
    {
        Pc.Memory.Write64(Data, pcid);
        Run(code =>
        {
            code.mov(eax, (uint)kind);
            code.invpcid(rax, __xmmword_ptr[(long)Data]);
        });

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.GeneralProtection));
    }

    [Test]
    public void The_processor_names_itself_and_nothing_beyond()
    {
        Run(code =>
        {
            code.xor(eax, eax);
            code.cpuid();
            code.mov(r8, rax);
            code.mov(r9, rbx);
            code.mov(eax, 0x7777_7777);
            code.cpuid();
        });

        Assert.That((Register(9), Register(Gpr.Rbx)), Is.EqualTo((0x6874_7541UL, 0UL)), "'Auth', then nothing");
    }

    void Run(Action<Assembler> write)
    {
        Pc.Load(code =>
        {
            write(code);
            code.hlt();
        });
        Pc.RunToHalt();
    }

    byte[] Bytes(ulong address, int length)
    {
        var bytes = new byte[length];
        Pc.Memory.Read(address, bytes);
        return bytes;
    }
}
