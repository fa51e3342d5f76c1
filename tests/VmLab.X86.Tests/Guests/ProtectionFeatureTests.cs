using Iced.Intel;
using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>What bits of CR4 keep from user code, and from the supervisor. Source: Intel SDM vol. 3A §2.5.</summary>
public sealed unsafe class ProtectionFeatureTests : GuestTest
{
    const byte Done = 0x80;
    const ulong LocalTable = 0x50_0000, Descriptor = 0x30_0000;
    const ushort LocalSelector = 0xF;

    // Vol. 2 by mnemonic: with CR4.UMIP, #GP(0) above ring 0.
    [TestCaseSource(nameof(TableReads))]
    public void Umip_prevents_in_ring_3(Action<Assembler> instruction)
    {
        Assert.That(RunAsUser(0, instruction), Is.EqualTo(Done));
        PowerOff();
        PowerOn();
        Assert.That(RunAsUser(Cr4.UserModeInstructionPrevention, instruction), Is.EqualTo(Vector.GeneralProtection));
        Assert.That(Pc.Frame(2), Is.EqualTo(new ulong[] { 0, UserPages }));
    }

    public static IEnumerable<TestCaseData> TableReads =>
    [
        Of("sgdt", code => code.sgdt(__[rsp - 16])),
        Of("sidt", code => code.sidt(__[rsp - 16])),
        Of("sldt", code => code.sldt(eax)),
        Of("sldt m", code => code.sldt(__word_ptr[rsp - 16])),
        Of("str", code => code.str(eax)),
        Of("str m", code => code.str(__word_ptr[rsp - 16])),
        Of("smsw", code => code.smsw(eax)),
        Of("smsw m", code => code.smsw(__word_ptr[rsp - 16])),
    ];

    [Test]
    public void Umip_prevents_nothing_in_ring_0()
    {
        State->Cr4 |= Cr4.UserModeInstructionPrevention;
        Pc.Load(code =>
        {
            code.sidt(__[rsp - 16]);
            code.str(eax);
            code.hlt();
        });

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rax), Is.EqualTo(TaskState));
    }

    // Vol. 2, RDTSC and RDTSCP: #GP(0) above ring 0 with CR4.TSD.
    [TestCase(0UL, Done)]
    [TestCase(Cr4.TimeStampDisable, Vector.GeneralProtection)]
    public void Tsd_keeps_the_time_stamp_from_ring_3(ulong cr4, byte vector) =>
        Assert.That(RunAsUser(cr4, code => code.rdtscp()), Is.EqualTo(vector));

    // Vol. 2, RDPMC: #GP(0) above ring 0 without CR4.PCE, and for a counter that is not there, as none is.
    [TestCase(0UL)]
    [TestCase(Cr4.PerformanceCounters)]
    public void There_is_no_performance_counter(ulong cr4) =>
        Assert.That(RunAsUser(cr4, code => code.rdpmc()), Is.EqualTo(Vector.GeneralProtection));

    // Vol. 2, RDFSBASE: #UD without CR4.FSGSBASE, in any ring.
    [TestCase(0UL, Vector.InvalidOpcode)]
    [TestCase(Cr4.FsGsBase, Done)]
    public void Fsgsbase_opens_the_bases(ulong cr4, byte vector) => Assert.That(RunAsUser(cr4, code =>
    {
        code.rdgsbase(rax);
        code.wrfsbase(rax);
    }), Is.EqualTo(vector));

    // §4.6.1: an access that the processor makes by itself is a supervisor's in every ring.
    [Test]
    public void Ring_3_loads_segments_from_a_table_that_it_may_not_read()
    {
        PutLocalTable(Present | Writable);

        Assert.That(RunAsUser(0, LoadSegment), Is.EqualTo(Done));
        Assert.That(Pc.Memory.Read64(LocalTable + 8) >> 40 & 1, Is.EqualTo(1), "accessed");
    }

    // §4.6.1: SMAP forbids it user pages, in every ring and whatever RFLAGS.AC; the error code tells of no user.
    [TestCase(false, false)]
    [TestCase(false, true)]
    [TestCase(true, true)]
    public void Smap_keeps_tables_out_of_user_pages(bool isUser, bool isOpen)
    {
        PutLocalTable(Present | Writable | User);
        if (isOpen) State->SystemFlags |= Rflags.AlignmentCheck;
        if (isUser) Assert.That(RunAsUser(Cr4.Smap, LoadSegment), Is.EqualTo(Vector.PageFault));
        else
        {
            State->Cr4 |= Cr4.Smap;
            Pc.Cpu.Refresh();
            Pc.Load(LoadSegment);
            Pc.RunToHalt();
            Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.PageFault));
        }

        Assert.That((Pc.Frame(1)[0], State->Cr2), Is.EqualTo(((ulong)PageError.Present, LocalTable + 8)));
    }

    // Vol. 3A §4.6.1: CR0.WP holds for the mark in a descriptor too.
    [Test]
    public void A_descriptor_in_a_read_only_page_is_not_marked()
    {
        PutLocalTable(Present);

        Assert.That(RunAsUser(0, LoadSegment), Is.EqualTo(Vector.PageFault));
        Assert.That(Pc.Frame(1)[0], Is.EqualTo((ulong)(PageError.Present | PageError.Write)));
    }

    // Vol. 2, INVPCID.
    [TestCase(0UL, 0xFFFUL, 0UL, true)]
    [TestCase(0UL, 0UL, 0x8000_0000_0000UL, false, Description = "an address that is not canonical")]
    [TestCase(1UL, 0xFFFUL, 0x8000_0000_0000UL, true)]
    [TestCase(2UL, 0xFFFUL, 0x8000_0000_0000UL, true)]
    [TestCase(3UL, 0UL, 0UL, true)]
    [TestCase(3UL, 0x1000UL, 0UL, false, Description = "a reserved bit")]
    [TestCase(1UL, 1UL << 63, 0UL, false, Description = "a reserved bit")]
    [TestCase(1UL << 32, 0UL, 0UL, false, Description = "a type of 64 bits")]
    public void Invpcid_looks_at_its_operands(ulong type, ulong pcid, ulong linear, bool isAllowed)
    {
        State->Cr4 |= Cr4.Pcid;
        Invalidate(type, pcid, linear);

        Assert.That(Pc.HaltedVector == Vector.GeneralProtection, Is.Not.EqualTo(isAllowed));
    }

    [TestCase(0UL, false)]
    [TestCase(1UL, false)]
    [TestCase(2UL, true)]
    public void Invpcid_takes_no_pcid_where_there_are_none(ulong type, bool isAllowed)
    {
        Invalidate(type, pcid: 1, linear: 0);

        Assert.That(Pc.HaltedVector == Vector.GeneralProtection, Is.Not.EqualTo(isAllowed));
    }

    [TestCaseSource(nameof(Invalidations))]
    public void Ring_3_may_not_invalidate(Action<Assembler> instruction) =>
        Assert.That(RunAsUser(0, instruction), Is.EqualTo(Vector.GeneralProtection));

    public static IEnumerable<TestCaseData> Invalidations =>
    [
        Of("invpcid", code => code.invpcid(rax, __xmmword_ptr[rsp - 16])),
        Of("invlpg", code => code.invlpg(__[rsp])),
        Of("invd", code => code.invd()),
        Of("wbinvd", code => code.wbinvd()),
        Of("rdmsr", code => code.rdmsr()),
        Of("mov cr8", code => code.mov(cr8, rax)),
    ];

    // Vol. 2, CPUID: what the tests of this folder show to work is announced, and nothing that would be refused.
    [Test]
    public void What_works_is_announced_and_nothing_more()
    {
        uint basic = X86.Cpuid.Leaf(1, 0, 0).Edx, further = X86.Cpuid.Leaf(1, 0, 0).Ecx;
        var (_, seven, sevenC, _) = X86.Cpuid.Leaf(7, 0, 0);
        uint extended = X86.Cpuid.Leaf(0x8000_0001, 0, 0).Edx;
        const uint Pse = 1 << 3, Pae = 1 << 6, Pge = 1 << 13, Pse36 = 1 << 17, Vme = 1 << 1, Mce = 1 << 7, Mca = 1 << 14;
        const uint FsGsBase = 1, TscAdjust = 1 << 1, Smep = 1 << 7, Invpcid = 1 << 10, Smap = 1 << 20, Umip = 1 << 2;

        Assert.That(basic & (Pse | Pae | Pge | Pse36 | Vme | Mce | Mca), Is.EqualTo(Pse | Pae | Pge | Pse36 | Mce | Mca));
        Assert.That(further & 1 << 17, Is.Not.Zero, "PCID");
        Assert.That(seven & (FsGsBase | TscAdjust | Smep | Invpcid | Smap), Is.EqualTo(FsGsBase | Smep | Invpcid | Smap));
        Assert.That(sevenC & Umip, Is.Not.Zero, "UMIP");
        Assert.That(extended >> 20 & 1, Is.EqualTo(1), "NX");
        Assert.That(extended >> 26 & 3, Is.EqualTo(3), "1 GiB pages and RDTSCP");
    }

    static TestCaseData Of(string name, Action<Assembler> instruction) =>
        new TestCaseData(instruction).SetArgDisplayNames(name);

    static void LoadSegment(Assembler code)
    {
        code.mov(eax, LocalSelector);
        code.mov(fs, eax);
    }

    void PutLocalTable(ulong rights)
    {
        Pc.Map(LocalTable, LocalTable, rights);
        Pc.Memory.Write64(LocalTable + 8, 0x00CF_F200_0000_FFFF);
        (State->LdtBase, State->LdtLimit, State->LdtRights, State->LdtSelector) = (LocalTable, 0xF, 0x82, 0x50);
        Pc.Cpu.Refresh();
    }

    void Invalidate(ulong type, ulong pcid, ulong linear)
    {
        Pc.Memory.Write64(Descriptor, pcid);
        Pc.Memory.Write64(Descriptor + 8, linear);
        Pc.Load(code =>
        {
            code.mov(rax, type);
            code.invpcid(rax, __xmmword_ptr[(long)Descriptor]);
            code.hlt();
        });
        Pc.RunToHalt();
    }

    /// <returns>The vector that ended it: <see cref="Done"/> when nothing else did.</returns>
    int RunAsUser(ulong cr4, Action<Assembler> write)
    {
        Pc.SetGate(Done, HandlerOf(Done), dpl: 3);
        State->Cr4 |= cr4;
        Pc.EnterUser();
        Pc.Load(code =>
        {
            write(code);
            code.@int(Done);
        }, UserPages);
        Pc.RunToHalt();
        return Pc.HaltedVector;
    }
}
