using Iced.Intel;
using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// 32-bit protected mode: paging turned on and off, its registers, its 32-bit linear addresses. Source: Intel SDM
/// vol. 3A chapter 4 and §10.8.5.
/// </summary>
/// <remarks>There is no interrupt table: what faults shuts the processor down.</remarks>
public sealed unsafe class LegacyPagingTests : GuestTest
{
    const ulong Protected = Cr0.ProtectionEnable | Cr0.ExtensionType, Paged = Protected | Cr0.Paging;
    const ulong Pointers = 0x40_0020, Directory = 0x40_1000, Table = 0x40_2000, OtherTable = 0x40_3000,
        First = 0x50_0000, Second = 0x51_0000;
    const uint Page = 0x4000_0000;

    [SetUp]
    public void LeaveLongMode()
    {
        Pc.Cpu.Start(isLong: false, VcpuFixture.Code, 0, Gdt, 0x47, KernelCode32, KernelData);
        (State->Efer, State->IdtLimit) = (0, 0);
        (State->Cr0, State->Gpr[Gpr.Rsp]) = (Protected, StackTop);
        Pc.Cpu.Refresh();
        Pc.Memory.Write64(First, 1);
        Pc.Memory.Write64(Second, 2);
    }

    // §10.8.5.1 and §10.8.5.2: what must hold when paging is turned on with EFER.LME.
    [TestCase(Cr4.PhysicalAddressExtension, 0xC09B, 0x8B, true)]
    [TestCase(0UL, 0xC09B, 0x8B, false, Description = "no PAE")]
    [TestCase(Cr4.PhysicalAddressExtension, 0xE09B, 0x8B, false, Description = "CS.L is set")]
    [TestCase(Cr4.PhysicalAddressExtension, 0xC09B, 0x83, false, Description = "a 16-bit task")]
    [TestCase(Cr4.PhysicalAddressExtension, 0xC09B, 0x81, false, Description = "an available 16-bit task")]
    public void Long_mode_is_entered_when_all_is_ready(ulong cr4, int codeRights, int taskRights, bool isAllowed)
    {
        State->Efer = Efer.LongModeEnable;
        (State->Cr3, State->Cr4) = (RootTable, cr4);
        (State->SegmentRights[Segment.Cs], State->TssRights) = ((ushort)codeRights, (ushort)taskRights);
        Pc.Cpu.Refresh();

        Assert.That(Run(code => SetControl(code, cr0, Paged)), Is.EqualTo(Ended(isAllowed)));

        Assert.That(State->IsLongMode, Is.EqualTo(isAllowed));
        Assert.That(State->Cr0, Is.EqualTo(isAllowed ? Paged : Protected));
    }

    // §4.1.2: PCIDs exist in IA-32e mode only.
    [Test]
    public void Pcids_are_refused_outside_long_mode()
    {
        Assert.That(Run(code => SetControl(code, cr4, Cr4.Pcid)), Is.EqualTo(StopReason.Shutdown));
        Assert.That(State->Cr4, Is.Zero);
    }

    [Test]
    public void Two_level_paging_translates()
    {
        MapTwoLevel(Page, First);

        StopReason end = Run(code =>
        {
            SetControl(code, cr3, Directory);
            SetControl(code, cr0, Paged);
            code.mov(eax, __dword_ptr[Page]);
            code.mov(__dword_ptr[Page + 4], eax);
        });

        Assert.That((end, Register(Gpr.Rax), Pc.Memory.Read32(First + 4)), Is.EqualTo((StopReason.Halted, 1UL, 1U)));
    }

    // design.md, contract 3: a store to a table of 4-byte entries shows at once, an entry beside it shows nothing.
    [TestCase(4, 1UL)]
    [TestCase(0, 2UL)]
    public void A_changed_entry_of_four_bytes_shows(int offset, ulong expected)
    {
        MapTwoLevel(Page, First);
        MapTwoLevel(Page + 0x1000, First);

        Run(code =>
        {
            SetControl(code, cr3, Directory);
            SetControl(code, cr0, Paged);
            code.mov(eax, __dword_ptr[Page]);
            code.mov(ecx, __dword_ptr[Page + 0x1000]);
            code.mov(__dword_ptr[(uint)Table + offset], (int)(Second | Present | Writable));
            code.mov(eax, __dword_ptr[Page]);
            code.mov(ecx, __dword_ptr[Page + 0x1000]);
        });

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rcx)), Is.EqualTo((expected, 3 - expected)));
    }

    // §4.3: a changed CR4.PSE changes what a directory's entry means.
    [Test]
    public void Pse_turns_a_table_into_a_page_of_4_mib()
    {
        MapTwoLevel(Page, First, Large);   // bit 13 of the table, taken for a page, leads beyond RAM

        Run(code =>
        {
            SetControl(code, cr3, Directory);
            SetControl(code, cr0, Paged);
            code.mov(eax, __dword_ptr[Page]);
            SetControl(code, cr4, Cr4.PageSizeExtensions);
            code.mov(ecx, __dword_ptr[Page]);
        });

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rcx)), Is.EqualTo((1UL, (ulong)uint.MaxValue)));
    }

    // §4.4.1: PAE's pointers come from memory when CR3 is loaded, and show in translations from then on.
    [Test]
    public void Pae_takes_its_pointers_when_cr3_is_loaded()
    {
        MapPae(Page, First);

        Run(code =>
        {
            EnterPae(code);
            code.mov(eax, __dword_ptr[Page]);
            code.mov(__dword_ptr[(uint)Pointers + 8], 0);
            code.mov(ecx, __dword_ptr[Page]);
            code.mov(edx, cr3);
            code.mov(__dword_ptr[(uint)Pointers + 8], (int)(OtherTable | Present));
            code.mov(cr3, edx);
            code.mov(edx, __dword_ptr[Page]);
        });

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rcx), Register(Gpr.Rdx)), Is.EqualTo((1UL, 1UL, 2UL)));
    }

    // §4.4.1: MOV to CR0 loads them when CD, NW or PG changes, MOV to CR4 when PAE, PGE, PSE or SMEP does.
    [TestCase(0, Cr0.CacheDisable, true)]
    [TestCase(0, Cr0.WriteProtect, false)]
    [TestCase(0, Cr0.TaskSwitched, false)]
    [TestCase(4, Cr4.GlobalPages, true)]
    [TestCase(4, Cr4.PageSizeExtensions, true)]
    [TestCase(4, Cr4.Smep, true)]
    [TestCase(4, Cr4.TimeStampDisable, false)]
    [TestCase(4, Cr4.Smap, false)]
    public void Pae_takes_its_pointers_with_some_other_bits(int register, ulong bit, bool isLoaded)
    {
        MapPae(Page, First);

        Run(code =>
        {
            EnterPae(code);
            code.mov(__dword_ptr[(uint)Pointers + 8], 0);
            if (register == 0) SetControl(code, cr0, Paged | bit);
            else SetControl(code, cr4, Cr4.PhysicalAddressExtension | bit);
        });

        Assert.That(State->DirectoryPointers[1], Is.EqualTo(isLoaded ? 0 : Directory + 0x4000 | Present));
    }

    // §4.4.1: a pointer with reserved bits is #GP(0), and nothing is loaded.
    [Test]
    public void Pae_refuses_pointers_with_reserved_bits()
    {
        MapPae(Page, First);
        Pc.Memory.Write64(Pointers + 24, Present | Writable);

        Assert.That(Run(EnterPae), Is.EqualTo(StopReason.Shutdown));

        Assert.That((State->Cr0, State->DirectoryPointers[0]), Is.EqualTo((Protected, 0UL)));
    }

    // §4.4: addresses of 40 bits, beyond RAM too: they read as ones.
    [Test]
    public void Pae_reaches_beyond_4_gib()
    {
        MapPae(Page, 0x80_0000_0000);

        Run(code =>
        {
            EnterPae(code);
            code.mov(eax, __dword_ptr[Page]);
        });

        Assert.That(Register(Gpr.Rax), Is.EqualTo(uint.MaxValue));
    }

    // Vol. 3A §3.3.1 and §5.3: a linear address has 32 bits, with paging and without.
    [TestCase(false)]
    [TestCase(true)]
    public void An_access_wraps_at_4_gib(bool isPaged)
    {
        MapTwoLevel(0xFFFF_F000, First);
        Pc.Memory.Write32(First + 0xFFC, 0x1122_3344);
        Pc.Memory.Write32(0, 0x5566_7788);
        (State->SegmentSelectors[Segment.Fs], State->SegmentBases[Segment.Fs]) = (KernelData, 0xFFFF_F000);
        Pc.Cpu.Refresh();

        Run(code =>
        {
            SetControl(code, cr3, Directory);
            if (isPaged) SetControl(code, cr0, Paged);
            code.mov(eax, __dword_ptr.fs[0xFFE]);
            code.mov(__dword_ptr.fs[0x1002], eax);
        });

        Assert.That(Register(Gpr.Rax), Is.EqualTo(isPaged ? 0x7788_1122 : 0x7788_FFFF));
        Assert.That(Pc.Memory.Read32(2), Is.EqualTo((uint)Register(Gpr.Rax)));
    }

    // Vol. 2, LMSW: turns protection on and sets TS, MP and EM, from memory too.
    [Test]
    public void Lmsw_takes_its_word_from_memory()
    {
        Pc.Memory.Write32(Data, 0xFFFE);

        Run(code => code.lmsw(__word_ptr[(uint)Data]));

        Assert.That(State->Cr0, Is.EqualTo(Protected | 0xE));
    }

    // Vol. 2, MOV: outside of 64-bit mode the operand has 32 bits.
    [Test]
    public void A_control_register_is_read_and_written_in_32_bits()
    {
        State->Gpr[Gpr.Rbx] = ulong.MaxValue;
        State->Cr2 = 0x1234_5678_9ABC_DEF0;

        Assert.That(Run(code =>
        {
            code.mov(eax, cr2);
            code.mov(cr2, ebx);
        }), Is.EqualTo(StopReason.Halted));

        Assert.That((Register(Gpr.Rax), State->Cr2), Is.EqualTo((0x9ABC_DEF0UL, (ulong)uint.MaxValue)));
    }

    static StopReason Ended(bool isAllowed) => isAllowed ? StopReason.Halted : StopReason.Shutdown;

    static void SetControl(Assembler code, AssemblerRegisterCR register, ulong value)
    {
        code.mov(edx, (uint)value);
        code.mov(register, edx);
    }

    static void EnterPae(Assembler code)
    {
        SetControl(code, cr4, Cr4.PhysicalAddressExtension);
        SetControl(code, cr3, Pointers);
        SetControl(code, cr0, Paged);
    }

    /// <summary>Maps the low 8 MiB where they lie, and one page more.</summary>
    void MapTwoLevel(uint linear, ulong physical, ulong bits = 0)
    {
        for (uint i = 0; i < 2; i++)
        {
            ulong table = Directory + 0x4000 + 0x1000 * i;
            Pc.Memory.Write32(Directory + 4 * i, (uint)(table | Present | Writable));
            for (uint j = 0; j < 1024; j++)
                Pc.Memory.Write32(table + 4 * j, i << 22 | j << 12 | (uint)(Present | Writable));
        }
        Pc.Memory.Write32(Directory + 4 * (linear >> 22), (uint)(Table | Present | Writable | bits));
        Pc.Memory.Write32(Table + 4 * (linear >> 12 & 0x3FF), (uint)(physical | Present | Writable));
    }

    /// <summary>
    /// Maps the low 8 MiB where they lie, and one page of the second gigabyte; another directory has it elsewhere.
    /// </summary>
    void MapPae(uint linear, ulong physical)
    {
        const ulong Identity = Directory + 0x3000, Upper = Directory + 0x4000, OtherUpper = OtherTable;
        for (uint i = 0; i < 4; i++) Pc.Memory.Write64(Identity + 8 * i, i << 21 | Present | Writable | Large);
        Pc.Memory.Write64(Pointers, Identity | Present);
        Pc.Memory.Write64(Pointers + 8 * (linear >> 30), Upper | Present);
        Pc.Memory.Write64(Upper + 8 * (linear >> 21 & 0x1FF), Table | Present | Writable);
        Pc.Memory.Write64(Table + 8 * (linear >> 12 & 0x1FF), physical | Present | Writable);
        Pc.Memory.Write64(OtherUpper + 8 * (linear >> 21 & 0x1FF), OtherTable + 0x3000 | Present | Writable);
        Pc.Memory.Write64(OtherTable + 0x3000 + 8 * (linear >> 12 & 0x1FF), Second | Present | Writable);
    }

    StopReason Run(Action<Assembler> write)
    {
        Pc.Load(code =>
        {
            write(code);
            code.hlt();
        }, bitness: 32);
        StopReason reason;
        do reason = Pc.Cpu.Run(1000);
        while (reason == StopReason.Device);
        return reason;
    }
}
