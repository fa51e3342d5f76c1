using Iced.Intel;
using VmLab.X86.Tests.Guests;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Modes.ProtectedPc;

namespace VmLab.X86.Tests.Modes;

/// <summary>
/// Instructions that load or look at descriptors, in 32-bit protected mode. Source: Intel SDM vol. 2, by mnemonic.
/// </summary>
public sealed unsafe class DescriptorTests : ProtectedTest
{
    // MOV: DPL against CPL and RPL, types, presence. Error codes leave RPL out.
    [TestCase(3, Data3, 0, NoError, 0)]
    [TestCase(3, (ushort)(Data3 & ~3), 0, NoError, 0)]
    [TestCase(3, Data0, 0, Vector.GeneralProtection, Data0)]
    [TestCase(0, (ushort)(Data0 | 3), 0, Vector.GeneralProtection, Data0, Description = "RPL is held against DPL too")]
    [TestCase(0, Data3, 0, NoError, 0)]
    [TestCase(0, Code0, 0, NoError, 0, Description = "readable code")]
    [TestCase(3, Code0, 0, Vector.GeneralProtection, Code0)]
    [TestCase(3, Conforming, 0, NoError, 0, Description = "readable conforming code, whatever its DPL")]
    [TestCase(0, Any, (int)Execute, Vector.GeneralProtection, Any)]
    [TestCase(0, Any, 0x12, Vector.SegmentNotPresent, Any)]
    [TestCase(3, Any, 0x12, Vector.GeneralProtection, Any, Description = "rights before presence")]
    [TestCase(0, TaskState, 0, Vector.GeneralProtection, TaskState)]
    [TestCase(0, (ushort)0x83, 0, Vector.GeneralProtection, 0x80)]
    [TestCase(0, (ushort)0x0F, 0, Vector.GeneralProtection, 0x0C, Description = "no LDT")]
    [TestCase(3, (ushort)0, 0, NoError, 0)]
    [TestCase(3, (ushort)3, 0, NoError, 0)]
    public void A_data_segment_is_checked(int ring, ushort selector, int rights, int vector, int error)
    {
        if (rights != 0) Pc.SetDescriptor(Any, 0, FourGiB, (ushort)(rights | Big | Pages));
        State->Gpr[Gpr.Rax] = selector;
        Run(code =>
        {
            code.mov(gs, eax);
            code.ud2();
        }, ring);

        if (vector != NoError) AssertFault(vector, error);
        else AssertFault(Vector.InvalidOpcode, NoError, ProtectedPc.Code + 2);
        Assert.That(State->SegmentSelectors[Segment.Gs],
            Is.EqualTo(vector == NoError ? selector : ring == 0 ? Data0 : Data3), "the selector");
    }

    // MOV to SS: RPL and DPL are both CPL; #SS when it is not present.
    [TestCase(0, Data0, 0, NoError, 0)]
    [TestCase(3, Data3, 0, NoError, 0)]
    [TestCase(3, (ushort)(Data3 & ~3), 0, Vector.GeneralProtection, Data3 & ~3)]
    [TestCase(0, Data3, 0, Vector.GeneralProtection, Data3 & ~3)]
    [TestCase(0, (ushort)0, 0, Vector.GeneralProtection, 0)]
    [TestCase(3, (ushort)3, 0, Vector.GeneralProtection, 0)]
    [TestCase(0, Code0, 0, Vector.GeneralProtection, Code0)]
    [TestCase(0, Any, (int)Readable, Vector.GeneralProtection, Any)]
    [TestCase(0, Any, 0x12, Vector.StackFault, Any)]
    public void A_stack_segment_is_checked(int ring, ushort selector, int rights, int vector, int error)
    {
        if (rights != 0) Pc.SetDescriptor(Any, 0, FourGiB, (ushort)(rights | Big | Pages));
        State->Gpr[Gpr.Rax] = selector;
        Run(code =>
        {
            code.mov(ss, eax);
            code.ud2();
        }, ring);

        if (vector != NoError) AssertFault(vector, error);
        else AssertFault(Vector.InvalidOpcode, NoError, ProtectedPc.Code + 2);
    }

    // Vol. 3A §3.4.5.1: a load marks the descriptor accessed; a fault or a look does not.
    [TestCase("mov", true)]
    [TestCase("pop", true)]
    [TestCase("les", true)]
    [TestCase("verr", false)]
    [TestCase("lar", false)]
    [TestCase("faults", false)]
    public void A_load_marks_a_descriptor_accessed(string how, bool marks)
    {
        Pc.SetDescriptor(Any, 0, FourGiB, how == "faults" ? (ushort)(Execute | Big | Pages) : (ushort)(Writable | Big | Pages));
        State->Gpr[Gpr.Rax] = Any;
        Pc.Write32(ProtectedPc.Data + 4, Any);
        Run(code =>
        {
            if (how is "mov" or "faults") code.mov(es, eax);
            if (how == "pop") code.push(eax);
            if (how == "pop") code.pop(es);
            if (how == "les") code.les(ecx, __fword_ptr[(int)ProtectedPc.Data]);
            if (how == "verr") code.verr(ax);
            if (how == "lar") code.lar(ecx, eax);
            code.ud2();
        });

        Assert.That(Pc.RightsOf(Any) & 1, Is.EqualTo(marks ? 1 : 0));
    }

    [TestCase("lds", Segment.Ds)]
    [TestCase("les", Segment.Es)]
    [TestCase("lfs", Segment.Fs)]
    [TestCase("lgs", Segment.Gs)]
    [TestCase("lss", Segment.Ss)]
    public void A_far_pointer_loads_register_and_segment(string name, int segment)
    {
        Pc.SetDescriptor(Any, 0, FourGiB, Writable | Big | Pages);
        foreach (bool isGood in (bool[])[true, false])
        {
            Pc.Write32(ProtectedPc.Data, 0x1234_5678);
            Pc.Write32(ProtectedPc.Data + 4, isGood ? (uint)Any : Code3 | 3U);
            State->Gpr[Gpr.Rsi] = 0;
            AssemblerMemoryOperand pointer = __fword_ptr[(int)ProtectedPc.Data];
            Run(code =>
            {
                if (name == "lds") code.lds(esi, pointer);
                if (name == "les") code.les(esi, pointer);
                if (name == "lfs") code.lfs(esi, pointer);
                if (name == "lgs") code.lgs(esi, pointer);
                if (name == "lss") code.lss(esi, pointer);
                code.ud2();
            });
            bool isLoaded = isGood || segment != Segment.Ss;   // readable code is good data, but no stack
            Assert.That((Register(Gpr.Rsi), State->SegmentSelectors[segment]),
                Is.EqualTo(isLoaded ? (0x1234_5678U, isGood ? Any : Code3) : (0U, Data0)));
        }
    }

    // LAR, LSL, VERR, VERW: ZF tells what may be seen and used; nothing faults. Of rights, bits 16 to 19 are the limit's.
    [TestCase(0, Data0, 0x00CF_9300, 0xFFFF_FFFF, true, true)]
    [TestCase(3, Data0, -1, -1, false, false)]
    [TestCase(0, (ushort)(Data0 | 3), -1, -1, false, false)]
    [TestCase(3, Data3, 0x00CF_F300, 0xFFFF_FFFF, true, true)]
    [TestCase(3, Conforming, 0x00CF_9E00, 0xFFFF_FFFF, true, false)]
    [TestCase(0, Code0, 0x00CF_9B00, 0xFFFF_FFFF, true, false)]
    [TestCase(0, TaskState, 0x0000_8B00, 103, false, false)]
    [TestCase(0, Local, 0x0000_8200, 0xFF, false, false)]
    [TestCase(3, Local, -1, -1, false, false)]
    [TestCase(0, Any, 0x0000_8C00, -1, false, false, Description = "a call gate has rights, and no limit")]
    [TestCase(0, Second, -1, -1, false, false, Description = "an interrupt gate")]
    [TestCase(0, (ushort)0, -1, -1, false, false)]
    [TestCase(0, (ushort)0x80, -1, -1, false, false)]
    public void A_look_at_a_descriptor_tells_by_zf(int ring, ushort selector, long rights, long limit, bool isReadable, bool isWritable)
    {
        Pc.SetCallGate(Any, 0, Code0, dpl: 0);
        Pc.SetCallGate(Second, 0, Code0, dpl: 0, type: 14);
        foreach (ushort flat in (ushort[])[Data0, Data3, Code0]) Pc.SetDescriptor(flat, 0, FourGiB, (ushort)(Pc.RightsOf(flat) & 0xF0FF | 1));
        State->Gpr[Gpr.Rax] = selector;
        (State->Gpr[Gpr.Rcx], State->Gpr[Gpr.Rdx]) = (0xDEAD, 0xDEAD);
        Run(code =>
        {
            code.lar(ecx, eax);
            code.setz(bl);
            code.lsl(edx, eax);
            code.setz(bh);
            code.verr(ax);
            code.pushfd();
            code.pop(esi);
            code.verw(ax);
            code.pushfd();
            code.pop(edi);
            code.ud2();
        }, ring);

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.InvalidOpcode));
        Assert.That((Register(Gpr.Rcx), Register(Gpr.Rbx) & 0xFF), Is.EqualTo((rights < 0 ? 0xDEADU : (uint)rights, rights < 0 ? 0U : 1U)), "LAR");
        Assert.That((Register(Gpr.Rdx), Register(Gpr.Rbx) >> 8), Is.EqualTo((limit < 0 ? 0xDEADU : (uint)limit, limit < 0 ? 0U : 1U)), "LSL");
        Assert.That(((Register(Gpr.Rsi) & Rflags.Zero) != 0, (Register(Gpr.Rdi) & Rflags.Zero) != 0), Is.EqualTo((isReadable, isWritable)));
    }

    // LAR: the operand of 16 bits takes the low word.
    [Test]
    public void Lar_of_16_bits_leaves_the_upper_half()
    {
        State->Gpr[Gpr.Rax] = Data0;
        State->Gpr[Gpr.Rcx] = 0xABCD_0000;
        Run(code =>
        {
            code.lar(cx, ax);
            code.ud2();
        });

        Assert.That(Register(Gpr.Rcx) | 0x100, Is.EqualTo(0xABCD_9300));
    }

    [TestCase(0x10, 3, true, 0x13)]
    [TestCase(0x13, 1, false, 0x13)]
    [TestCase(0x12, 2, false, 0x12)]
    public void Arpl_raises_the_rpl(int target, int source, bool raises, int expected)
    {
        State->Gpr[Gpr.Rax] = (ulong)target;
        State->Gpr[Gpr.Rcx] = (ulong)source;
        Run(code =>
        {
            code.arpl(ax, cx);
            code.setz(dl);
            code.ud2();
        }, ring: 3);

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rdx) & 0xFF), Is.EqualTo(((uint)expected, raises ? 1U : 0U)));
    }

    // LLDT: GDT only, type 2, present; a null selector leaves no table.
    [TestCase(Local, 0, NoError, 0)]
    [TestCase((ushort)0, 0, NoError, 0)]
    [TestCase((ushort)(Local | 4), 0, Vector.GeneralProtection, Local | 4)]
    [TestCase(TaskState, 0, Vector.GeneralProtection, TaskState)]
    [TestCase(Data0, 0, Vector.GeneralProtection, Data0)]
    [TestCase((ushort)0x80, 0, Vector.GeneralProtection, 0x80)]
    [TestCase(Any, 0x02, Vector.SegmentNotPresent, Any)]
    public void Lldt_is_checked(ushort selector, int rights, int vector, int error)
    {
        if (rights != 0) Pc.SetDescriptor(Any, LocalTable, 0xFF, (ushort)rights);
        State->Gpr[Gpr.Rax] = selector;
        Run(code =>
        {
            code.lldt(ax);
            code.sldt(ecx);
            code.ud2();
        });

        if (vector != NoError) AssertFault(vector, error);
        else Assert.That((Pc.HaltedVector, Register(Gpr.Rcx)), Is.EqualTo((Vector.InvalidOpcode, (uint)selector)));
    }

    [Test]
    public void A_selector_of_the_ldt_finds_its_descriptor_there()
    {
        Pc.SetDescriptor(0x0C, ProtectedPc.Data, 0xFFF, Writable | Big, LocalTable);
        Pc.Write32(ProtectedPc.Data + 4, 99);
        State->Gpr[Gpr.Rax] = Local;
        State->Gpr[Gpr.Rbx] = 0x0C;
        Run(code =>
        {
            code.lldt(ax);
            code.mov(fs, ebx);
            code.mov(ecx, __.fs[4]);
            code.ud2();
        });

        Assert.That(Register(Gpr.Rcx), Is.EqualTo(99));
        Assert.That(Pc.Read32(LocalTable + 12) >> 8 & 1, Is.EqualTo(1), "accessed, in the LDT");
    }

    // LTR: an available TSS, which becomes busy.
    [TestCase(Any, 0x89, NoError, 0, 0x8B)]
    [TestCase(Any, 0x81, NoError, 0, 0x83)]
    [TestCase(Any, 0x8B, Vector.GeneralProtection, Any, 0x8B)]
    [TestCase(Any, 0x09, Vector.SegmentNotPresent, Any, 0x09)]
    [TestCase((ushort)0, 0x89, Vector.GeneralProtection, 0, 0x89)]
    [TestCase((ushort)(Any | 4), 0x89, Vector.GeneralProtection, Any | 4, 0x89)]
    [TestCase(Data0, 0x89, Vector.GeneralProtection, Data0, 0x89)]
    public void Ltr_is_checked(ushort selector, int rights, int vector, int error, int after)
    {
        Pc.SetDescriptor(Any, (uint)VcpuFixture.Tss, 103, (ushort)rights);
        State->Gpr[Gpr.Rax] = selector;
        Run(code =>
        {
            code.ltr(ax);
            code.ud2();
        });

        if (vector != NoError) AssertFault(vector, error);
        else Assert.That((Pc.HaltedVector, State->TssSelector), Is.EqualTo((Vector.InvalidOpcode, selector)));
        Assert.That(Pc.RightsOf(Any) & 0xFF, Is.EqualTo(after));
    }

    // BOUND: signed bounds, both included; #BR is a fault.
    [TestCase(-5, true)]
    [TestCase(7, true)]
    [TestCase(-6, false)]
    [TestCase(8, false)]
    public void Bound_lets_its_bounds_in(int index, bool isInside)
    {
        Pc.Write32(ProtectedPc.Data, unchecked((uint)-5));
        Pc.Write32(ProtectedPc.Data + 4, 7);
        State->Gpr[Gpr.Rax] = (uint)index;
        Run(code =>
        {
            code.bound(eax, __qword_ptr[(int)ProtectedPc.Data]);
            code.ud2();
        });

        if (isInside) Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.InvalidOpcode));
        else AssertFault(Vector.BoundRange, NoError);
    }

    // LGDT with 16-bit operands takes 24 bits of the base.
    [TestCase(false, 0x8123_4567UL)]
    [TestCase(true, 0x23_4567UL)]
    public void Lidt_takes_the_base_by_its_operand_size(bool isNarrow, ulong expected)
    {
        Pc.Pc.Memory.Write(ProtectedPc.Data, [0xFF, 0x07, 0x67, 0x45, 0x23, 0x81]);
        Pc.Load(code =>
        {
            if (isNarrow) code.db(0x66);
            code.db([0x0F, 0x01, 0x1D, .. BitConverter.GetBytes(ProtectedPc.Data)]);
        });
        Pc.Cpu.Run(1);

        Assert.That((State->IdtBase, State->IdtLimit), Is.EqualTo((expected, 0x7FFU)));
    }

    // POP to a segment moves ESP by the operand; PUSH of one writes a zero-extended word.
    [Test]
    public void Segments_are_pushed_and_popped_by_operand_size()
    {
        Pc.Write32(StackTop - 4, 0xFFFF_FFFF);
        Run(code =>
        {
            code.push(ds);
            code.mov(eax, __[esp]);
            code.pop(es);
            code.mov(ebx, esp);
            code.db(0x66, 0x1E);   // PUSH DS of 16 bits
            code.mov(ecx, esp);
            code.ud2();
        });

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rbx), Register(Gpr.Rcx), (uint)State->SegmentSelectors[Segment.Es]),
            Is.EqualTo(((uint)Data0, StackTop, StackTop - 2, (uint)Data0)));
    }

    // A POP that loads a bad selector leaves the stack pointer.
    [Test]
    public void A_pop_of_a_bad_segment_leaves_esp()
    {
        Run(code =>
        {
            code.push(Code0 | 3);
            code.pop(ss);
        });

        AssertFault(Vector.GeneralProtection, Code0, ProtectedPc.Code + 2);
        Assert.That(Register(Gpr.Rsp), Is.EqualTo(StackTop - 4 - 16));
    }
}
