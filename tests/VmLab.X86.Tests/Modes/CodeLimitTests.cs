using Iced.Intel;
using VmLab.X86.Tests.Guests;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Modes.ProtectedPc;

namespace VmLab.X86.Tests.Modes;

/// <summary>Code that runs into the end of its segment. Source: Intel SDM vol. 3A §5.3; vol. 2, JMP, CALL, RET.</summary>
public sealed unsafe class CodeLimitTests : ProtectedTest
{
    const uint Base = 0x5_0000, Limit = 0x1FFF;

    [SetUp]
    public void LimitCode() => Pc.SetDescriptor(Any, Base, Limit, ExecuteRead | Big);

    // An instruction's last byte is held against the limit; what it would do is not done.
    [TestCase(0x1FFBU, false)]
    [TestCase(0x1FFCU, true)]
    [TestCase(0x1FFFU, true)]
    public void An_instruction_must_lie_in_its_segment(uint start, bool faults)
    {
        Pc.Load(code => code.mov(eax, 0x1234), Base + start);
        Pc.Load(code => code.nop(), Base + 0x1FF0);
        Enter(start);

        AssertFault(Vector.GeneralProtection, 0, faults ? start : 0x2000);
        Assert.That(Register(Gpr.Rax), Is.EqualTo(faults ? 0U : 0x1234U));
    }

    // A branch beyond the limit faults where it stands, with stack, count and registers as they were.
    [TestCaseSource(nameof(Branches))]
    public void A_branch_beyond_its_segment_faults_where_it_stands(Action<Assembler> branch)
    {
        State->Gpr[Gpr.Rcx] = 5;
        State->Gpr[Gpr.Rbx] = Limit + 1;
        Pc.Write32(StackTop, Limit + 1);
        Pc.Write32(StackTop - 16 - 4, 0);
        Pc.Load(branch, Base + 0x1F90);
        Enter(0x1F90);

        AssertFault(Vector.GeneralProtection, 0, 0x1F90);
        Assert.That((Register(Gpr.Rcx), Register(Gpr.Rsp)), Is.EqualTo((5U, StackTop - 16)));
    }

    public static IEnumerable<TestCaseData> Branches =>
    [
        Of("jmp", code => code.jmp(Base + 0x2000UL)),
        Of("jz", code => code.jnz(Base + 0x2000UL)),
        Of("call", code => code.call(Base + 0x2000UL)),
        Of("loop", code => code.loop(Base + 0x2000UL)),
        Of("jmp ebx", code => code.jmp(ebx)),
        Of("call ebx", code => code.call(ebx)),
        Of("ret", code => code.ret()),
    ];

    // Vol. 2, JMP, with an operand of 16 bits: EIP's upper half is cleared.
    [Test]
    public void A_near_branch_of_16_bits_keeps_16_bits_of_eip()
    {
        Pc.Load(code => code.ud2(), 0x10);
        Run(code => code.db(0x66, 0xE9, 0x0C, 0x00));   // JMP rel16 to Code + 0x10

        AssertFault(Vector.InvalidOpcode, NoError, ProtectedPc.Code + 0x10 & 0xFFFF);
    }

    // Segments with a base run as others do.
    [Test]
    public void A_loop_in_a_limited_segment_counts_as_any_other()
    {
        Pc.Load(code =>
        {
            code.mov(ecx, 10);
            Label top = code.CreateLabel();
            code.Label(ref top);
            code.add(eax, ecx);
            code.dec(ecx);
            code.jnz(top);
            code.ud2();
        }, Base);
        State->Gpr[Gpr.Rax] = 0;
        Enter(0);

        Assert.That((Pc.HaltedVector, Register(Gpr.Rax)), Is.EqualTo((Vector.InvalidOpcode, 55U)));
        Assert.That(Pc.Pc.Clock.Now, Is.EqualTo(1 + 1 + 10 * 3 + 1 + 1), "the jump, the loop, the delivery and the HLT");
    }

    static TestCaseData Of(string name, Action<Assembler> branch) => new TestCaseData(branch).SetArgDisplayNames(name);

    void Enter(uint offset) =>
        Run(code => code.db([0xEA, .. BitConverter.GetBytes(offset), .. BitConverter.GetBytes(Any)]));
}
