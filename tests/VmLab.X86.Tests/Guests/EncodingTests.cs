using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>Encodings that mean another thing than the host would make of them. Source: engine.md, "Traps"; the manuals by mnemonic.</summary>
public sealed unsafe class EncodingTests : GuestTest
{
    // CPUID announces neither BMI1 nor LZCNT, so the prefix is ignored: Linux' own BSF is written so.
    [TestCase(0xBC, 0x10UL, 4UL)]
    [TestCase(0xBD, 0x1_0010UL, 16UL)]
    [TestCase(0xBC, 0UL, 0x55UL, Description = "a source of 0 leaves the target")]
    public void A_repeated_bit_scan_is_a_bit_scan(int opcode, ulong source, ulong expected)
    {
        State->Gpr[Gpr.Rcx] = source;
        State->Gpr[Gpr.Rax] = 0x55;
        Pc.Load(code => code.db(0xF3, 0x48, 0x0F, (byte)opcode, 0xC1, 0xF4));

        Pc.RunToHalt();

        Assert.That(Register(Gpr.Rax), Is.EqualTo(expected));
    }

    // Vol. 2A §2.3.11: fifteen bytes are the most, whatever they are.
    [TestCase(15, (int)Vector.InvalidOpcode)]
    [TestCase(16, (int)Vector.GeneralProtection)]
    public void A_bad_instruction_may_be_as_long_as_a_good_one(int length, int vector)
    {
        byte[] lockedMove = [0xF0, 0x48, 0xA1, 0, 0, 0, 0, 0, 0, 0, 0];   // LOCK MOV RAX, [0]
        Pc.Load(code => code.db([.. Enumerable.Repeat((byte)0x3E, length - lockedMove.Length), .. lockedMove]));

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(vector));
    }

    [TestCaseSource(nameof(Unannounced))]
    public void What_cpuid_does_not_announce_is_undefined(Action<Assembler> instruction)
    {
        State->Gpr[Gpr.Rcx] = 0;
        Pc.Load(instruction);

        Pc.RunToHalt();

        Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.InvalidOpcode));
        Assert.That(Pc.Frame(1)[0], Is.EqualTo(VcpuFixture.Code));
    }

    public static IEnumerable<TestCaseData> Unannounced =>
    [
        Of("movbe", code => code.movbe(eax, __[rsp])),
        Of("andn", code => code.andn(eax, eax, ecx)),
        Of("adcx", code => code.adcx(eax, ecx)),
        Of("rdpid", code => code.rdpid(rax)),
        Of("xgetbv", code => code.xgetbv()),
        Of("vaddps", code => code.vaddps(xmm0, xmm1, xmm2)),
        Of("aesenc", code => code.aesenc(xmm0, xmm1)),
        Of("monitor", code => code.monitor()),
        Of("vmrun", code => code.db(0x0F, 0x01, 0xD8)),
        Of("vmcall", code => code.vmcall()),
        Of("clzero", code => code.clzero()),
        Of("rsm", code => code.db(0x0F, 0xAA)),
    ];

    // Vol. 1 §3.4.2.1: FS and GS keep their bases in 64-bit mode, and an address adds them after its own 32-bit wrap.
    [Test]
    public void Every_form_of_address_takes_a_thread_s_base()
    {
        State->SegmentBases[Segment.Fs] = Data;
        State->SegmentBases[Segment.Gs] = Data - 0x1000;
        State->Gpr[Gpr.Rbx] = 0x10;
        State->Gpr[Gpr.Rcx] = ulong.MaxValue;
        State->Gpr[Gpr.Rsi] = 0x18;
        for (int i = 0; i < 8; i++) Pc.Memory.Write64(Data + 8 * (ulong)i, 0x1000UL + (ulong)i);
        Pc.Load(code =>
        {
            code.mov(r8, __.fs[rbx]);
            code.mov(r9, __.fs[rbx + rcx * 8 + 0x10]);
            code.mov(r10, __.gs[0x1020]);
            code.mov(r11, __.fs[ecx + 0x29]);      // wraps at 4 GiB, then takes the base
            code.db(0x64, 0x48, 0xAD);             // lodsq fs:[rsi]
            code.add(__qword_ptr.fs[rbx], 1);
            code.hlt();
        });

        Pc.RunToHalt();

        ulong[] read = [Register(8), Register(9), Register(10), Register(11), Register(Gpr.Rax)];
        Assert.That(read, Is.EqualTo(new ulong[] { 0x1002, 0x1003, 0x1004, 0x1005, 0x1003 }));
        Assert.That(Pc.Memory.Read64(Data + 0x10), Is.EqualTo(0x1003));
    }

    static TestCaseData Of(string name, Action<Assembler> instruction) =>
        new TestCaseData(instruction).SetArgDisplayNames(name);
}
