using Iced.Intel;
using VmLab.X86.Tests.Guests;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Modes;

/// <summary>#AC: data of ring 3 under CR0.AM and RFLAGS.AC. Source: Intel SDM vol. 3A §6.15, table 6-7.</summary>
public sealed unsafe class AlignmentTests : GuestTest
{
    /// <summary>Where the stack pointer is to be, beside the addresses of data.</summary>
    const int OddStack = 0x804;

    [TestCaseSource(nameof(Accesses))]
    public void An_operand_is_held_to_its_alignment(Action<Assembler> access, int address, bool faults)
    {
        Start(access, UserPages + 0x1000 + (ulong)address);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(faults ? Vector.AlignmentCheck : Vector.InvalidOpcode));
        if (faults) Assert.That((Pc.Frame(2)[0], Pc.Frame(2)[1]), Is.EqualTo((0UL, UserPages)));
    }

    public static IEnumerable<TestCaseData> Accesses =>
    [
        Of("byte", 1, false, code => code.mov(al, __[rbx])),
        Of("word", 1, true, code => code.mov(ax, __[rbx])),
        Of("word, aligned", 2, false, code => code.mov(ax, __[rbx])),
        Of("doubleword", 2, true, code => code.mov(eax, __[rbx])),
        Of("doubleword, stored", 2, true, code => code.mov(__[rbx], eax)),
        Of("doubleword, aligned", 4, false, code => code.mov(__[rbx], eax)),
        Of("quadword", 4, true, code => code.add(__[rbx], rax)),
        Of("quadword, aligned", 8, false, code => code.add(__[rbx], rax)),
        Of("movups", 4, true, code => code.movups(xmm0, __[rbx])),
        Of("movups, by 8", 8, false, code => code.movups(xmm0, __[rbx])),
        Of("fld of 80 bits", 4, true, code => code.fld(__tbyte_ptr[rbx])),
        Of("fnstenv", 2, true, code => code.fnstenv(__[rbx])),
        Of("fnstenv, by 4", 4, false, code => code.fnstenv(__[rbx])),
        Of("movsd, the target", 1, true, code =>
        {
            code.db(0x67, 0xA5);   // from an aligned ESI to EDI
        }),
        Of("push", OddStack, true, code => code.push(rax)),
        Of("pop", OddStack, true, code => code.pop(rax)),
        Of("call", OddStack, true, code => code.call(UserPages + 0x200)),
    ];

    // §6.15: only in ring 3, only with both bits, and no more once AC is gone.
    [TestCase(3, true, true, true)]
    [TestCase(3, false, true, false)]
    [TestCase(3, true, false, false)]
    [TestCase(0, true, true, false)]
    public void Alignment_is_checked_in_ring_3_with_am_and_ac(int ring, bool am, bool ac, bool faults)
    {
        Start(code => code.mov(eax, __[rbx]), UserPages + 0x1002);
        if (!am) State->Cr0 &= ~Cr0.AlignmentMask;
        if (!ac) State->SystemFlags &= ~Rflags.AlignmentCheck;
        if (ring == 0)
            (State->Cpl, State->SegmentSelectors[Segment.Cs], State->SegmentRights[Segment.Cs], State->SegmentRights[Segment.Ss]) =
                (0, KernelCode, 0xA09B, 0xC093);
        Pc.Cpu.Refresh();

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(faults ? Vector.AlignmentCheck : Vector.InvalidOpcode));
    }

    // POPF switches the check on and off; the handler of ring 0 runs without it.
    [Test]
    public void Popf_switches_the_check()
    {
        Start(code =>
        {
            code.push(2);
            code.popfq();
            code.mov(eax, __[rbx]);
            code.push((int)Rflags.AlignmentCheck | 2);
            code.popfq();
            code.mov(ecx, __[rbx + 2]);
            code.mov(edx, __[rbx]);
        }, UserPages + 0x1002);

        Pc.RunToHalt();

        Assert.That((Pc.HaltedVector, Pc.Frame(2)[1]), Is.EqualTo((Vector.AlignmentCheck, UserPages + 3 + 2 + 6 + 3)));
    }

    // A page fault waits for an aligned address.
    [Test]
    public void Alignment_comes_before_a_page_fault()
    {
        Start(code => code.mov(eax, __[rbx]), 0x4000_0002);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.AlignmentCheck));
    }

    static TestCaseData Of(string name, int address, bool faults, Action<Assembler> access) =>
        new TestCaseData(access, address, faults).SetArgDisplayNames(name);

    /// <summary>Readies a program of ring 3 that ends in UD2.</summary>
    void Start(Action<Assembler> write, ulong address)
    {
        Pc.EnterUser();
        Pc.Load(code =>
        {
            write(code);
            code.ud2();
        }, UserPages);
        State->Cr4 |= Cr4.FxSave;
        State->Cr0 |= Cr0.AlignmentMask;
        State->SystemFlags |= Rflags.AlignmentCheck;
        State->Gpr[Gpr.Rbx] = State->Gpr[Gpr.Rdi] = address;
        State->Gpr[Gpr.Rsi] = UserPages + 0x1000;
        if (address == UserPages + 0x1000 + OddStack) State->Gpr[Gpr.Rsp] = address;
        Pc.Cpu.Refresh();
    }
}
