using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// What of the XSAVE family a user program cannot show; the rest is compared with the host's. Source: Intel SDM vol. 1 ch. 13.
/// </summary>
public sealed unsafe class XSaveTests : GuestTest
{
    const ulong Area = Data;
    const int Header = 512;

    [SetUp]
    public void Enable()
    {
        State->Cr4 |= Cr4.XSave | Cr4.FxSave;
        State->Xcr0 = 3;
        (State->Gpr[Gpr.Rax], State->Gpr[Gpr.Rdx], State->Gpr[Gpr.Rdi]) = (3, 0, Area);
        Pc.Cpu.Refresh();
    }

    // §13.2: leaf 1 mirrors CR4.OSXSAVE; leaf 13 tells the components and the sizes.
    [TestCase(0UL, 0U)]
    [TestCase(Cr4.XSave, 1U)]
    public void Leaf_1_tells_whether_the_kernel_has_enabled_it(ulong cr4, uint expected)
    {
        State->Cr4 = State->Cr4 & ~Cr4.XSave | cr4;
        State->Gpr[Gpr.Rax] = 1;

        Run(code => code.cpuid());

        Assert.That(Register(Gpr.Rcx) >> 27 & 1, Is.EqualTo(expected));
    }

    [TestCase(0U, 3U, 576U, 576U)]
    [TestCase(1U, 7U, 576U, 0U)]
    [TestCase(2U, 0U, 0U, 0U)]
    public void Leaf_13_tells_components_and_sizes(uint subleaf, uint eax, uint ebx, uint ecx)
    {
        State->Gpr[Gpr.Rax] = 13;
        State->Gpr[Gpr.Rcx] = subleaf;

        Run(code => code.cpuid());

        Assert.That((Register(Gpr.Rax), Register(Gpr.Rbx), Register(Gpr.Rcx)), Is.EqualTo(((ulong)eax, (ulong)ebx, (ulong)ecx)));
    }

    // §2.6 of vol. 3A and vol. 2, XSETBV.
    [TestCase(0UL, 1UL, null)]
    [TestCase(0UL, 3UL, null)]
    [TestCase(0UL, 2UL, (int)Vector.GeneralProtection, Description = "x87 cannot be left out")]
    [TestCase(0UL, 7UL, (int)Vector.GeneralProtection, Description = "AVX is not announced")]
    [TestCase(1UL, 3UL, (int)Vector.GeneralProtection, Description = "there is one register")]
    public void XSETBV_takes_what_is_announced(ulong register, ulong value, int? vector)
    {
        (State->Gpr[Gpr.Rcx], State->Gpr[Gpr.Rax]) = (register, value);

        Assert.That(VectorOf(code => code.xsetbv()), Is.EqualTo(vector));
        Assert.That(State->Xcr0, Is.EqualTo(vector is null ? value : 3));
    }

    [TestCaseSource(nameof(All))]
    public void Without_OSXSAVE_they_are_undefined(Action<Assembler> instruction)
    {
        State->Cr4 &= ~Cr4.XSave;

        Assert.That(VectorOf(instruction), Is.EqualTo((int)Vector.InvalidOpcode));
    }

    [TestCaseSource(nameof(All))]
    public void After_a_task_switch_memory_forms_ask_for_the_device(Action<Assembler> instruction)
    {
        State->Cr0 |= Cr0.TaskSwitched;
        Pc.Cpu.Refresh();

        Assert.That(VectorOf(instruction), Is.EqualTo((int)Vector.DeviceNotAvailable));
    }

    // §13.4.3, §13.8: an area in two pages is one area.
    [Test]
    public void What_is_saved_is_restored_across_pages()
    {
        for (int i = 0; i < 32; i++) State->Xmm[i] = (ulong)i + 1;
        State->Gpr[Gpr.Rdi] = Area + 0x1000 - 256;

        Run(code =>
        {
            code.fninit();
            code.fld1();
            code.xsave64(__[rdi]);
            code.fninit();
            code.xorps(xmm5, xmm5);
            code.xrstor64(__[rdi]);
        });

        Assert.That(State->Xmm[10], Is.EqualTo(11));
        Assert.That(State->X87.Top, Is.EqualTo(7));
        Assert.That(Pc.Memory.Read64(Area + 0x1000 - 256 + Header), Is.EqualTo(3), "XSTATE_BV");
    }

    public static IEnumerable<TestCaseData> All =>
    [
        Of("xsave", code => code.xsave(__[rdi])),
        Of("xsaveopt", code => code.xsaveopt(__[rdi])),
        Of("xsavec", code => code.xsavec(__[rdi])),
        Of("xrstor", code => code.xrstor(__[rdi])),
    ];

    void Run(Action<Assembler> write) => Assert.That(VectorOf(write), Is.Null);

    int? VectorOf(Action<Assembler> instruction)
    {
        ulong behind = Pc.Load(code =>
        {
            instruction(code);
            code.hlt();
        });

        Pc.RunToHalt();

        return State->Rip == behind ? null : Pc.HaltedVector;
    }

    static TestCaseData Of(string name, Action<Assembler> instruction) =>
        new TestCaseData(instruction).SetArgDisplayNames(name);
}
