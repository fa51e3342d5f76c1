using Iced.Intel;
using VmLab.X86.Tests.Guests;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Modes.ProtectedPc;

namespace VmLab.X86.Tests.Modes;

/// <summary>Limits, types and rights of segments, on every access. Source: Intel SDM vol. 3A §5.3 to §5.6.</summary>
public sealed unsafe class SegmentTests : ProtectedTest
{
    // §5.3: an operand's last byte counts. Limit 0xFFF of bytes; expand-down begins behind the limit.
    [TestCase(Writable, 0xFFFU, 0xFFCU, 4, true)]
    [TestCase(Writable, 0xFFFU, 0xFFDU, 4, false)]
    [TestCase(Writable, 0xFFFU, 0xFFEU, 2, true)]
    [TestCase(Writable, 0xFFFU, 0xFFFU, 2, false)]
    [TestCase(Writable, 0xFFFU, 0xFFFU, 1, true)]
    [TestCase(Writable, 0xFFFU, 0x1000U, 1, false)]
    [TestCase(Writable, 0xFFFU, 0xFFFF_FFFFU, 1, false)]
    [TestCase(Writable, 0xFFFU, 0xFFFF_FFFEU, 4, false)]
    [TestCase(Writable | Pages, 0U, 0xFFCU, 4, true)]
    [TestCase(Writable | Pages, 0U, 0xFFDU, 4, false)]
    [TestCase(ExpandDown | Big, 0xFFFU, 0x1000U, 4, true)]
    [TestCase(ExpandDown | Big, 0xFFFU, 0xFFFU, 4, false)]
    [TestCase(ExpandDown | Big, 0xFFFU, 0x2_0000U, 4, true)]
    [TestCase(ExpandDown, 0xFFFU, 0xFFFCU, 4, true)]
    [TestCase(ExpandDown, 0xFFFU, 0xFFFDU, 4, false)]
    [TestCase(ExpandDown, 0xFFFU, 0x1_0000U, 1, false)]
    [TestCase(ExpandDown | Pages, 0U, 0xFFFU, 1, false)]
    [TestCase(ExpandDown | Pages, 0U, 0x1000U, 1, true)]
    public void A_limit_is_of_bytes(int rights, uint limit, uint offset, int bytes, bool isAllowed)
    {
        Pc.SetDescriptor(Any, ProtectedPc.Data, limit, (ushort)rights);
        Run(code =>
        {
            code.mov(es, eax);
            if (bytes == 4) code.mov(ecx, __dword_ptr.es[ebx]);
            else if (bytes == 2) code.mov(cx, __word_ptr.es[ebx]);
            else code.mov(cl, __byte_ptr.es[ebx]);
            code.ud2();
        }, eax: Any, ebx: offset);

        Assert.That(Pc.HaltedVector, Is.EqualTo(isAllowed ? Vector.InvalidOpcode : Vector.GeneralProtection));
        if (!isAllowed) AssertFault(Vector.GeneralProtection, 0, ProtectedPc.Code + 2);
    }

    [TestCase(Writable, true, true)]
    [TestCase(Readable, true, false)]
    [TestCase(ExecuteRead, true, false)]
    public void A_type_allows_reads_and_writes(int rights, bool reads, bool writes)
    {
        Pc.SetDescriptor(Any, 0, FourGiB, (ushort)(rights | Big | Pages));
        foreach (bool isWrite in (bool[])[false, true])
        {
            Run(code =>
            {
                code.mov(es, eax);
                if (isWrite) code.mov(__dword_ptr.es[ebx], ecx);
                else code.mov(ecx, __dword_ptr.es[ebx]);
                code.ud2();
            }, eax: Any, ebx: ProtectedPc.Data);
            Assert.That(Pc.HaltedVector, Is.EqualTo((isWrite ? writes : reads) ? Vector.InvalidOpcode : Vector.GeneralProtection));
            PowerOffAndOn();
            Pc.SetDescriptor(Any, 0, FourGiB, (ushort)(rights | Big | Pages));
        }
    }

    // §5.5: code is never written through CS, and read through it only where it is readable.
    [TestCase(ExecuteRead, false, true)]
    [TestCase(ExecuteRead, true, false)]
    [TestCase(Execute, false, false)]
    public void Code_is_data_through_cs(int rights, bool isWrite, bool isAllowed)
    {
        Pc.SetDescriptor(Any, 0, FourGiB, (ushort)(rights | Big | Pages));
        Pc.Load(code =>
        {
            if (isWrite) code.mov(__dword_ptr.cs[ebx], ecx);
            else code.mov(ecx, __dword_ptr.cs[ebx]);
            code.ud2();
        }, ProtectedPc.Code + 0x100);
        Run(code => code.db([0xEA, .. BitConverter.GetBytes(ProtectedPc.Code + 0x100), .. BitConverter.GetBytes(Any)]), ebx: ProtectedPc.Data);

        Assert.That(Pc.HaltedVector, Is.EqualTo(isAllowed ? Vector.InvalidOpcode : Vector.GeneralProtection));
    }

    // Every way to memory meets the segment: none of these may touch what lies behind the limit.
    [TestCaseSource(nameof(Accesses))]
    public void Every_access_is_held_against_the_limit(Action<Assembler> access, int bytes)
    {
        foreach (bool isInside in (bool[])[true, false])
        {
            Pc.SetDescriptor(Any, ProtectedPc.Data, 0xFFF, Writable | Big);
            State->Cr4 |= Cr4.FxSave;
            State->Gpr[Gpr.Rcx] = 1;
            State->Gpr[Gpr.Rdi] = State->Gpr[Gpr.Rsi] = 0x1000U - (uint)bytes + (isInside ? 0U : 1U);
            Run(code =>
            {
                code.mov(ds, eax);
                code.mov(es, eax);
                access(code);
                code.ud2();
            }, eax: Any, ebx: 0x1000U - (uint)bytes + (isInside ? 0U : 1U));

            if (!isInside) AssertFault(Vector.GeneralProtection, 0, ProtectedPc.Code + 4);
            else Assert.That(Pc.HaltedVector, Is.EqualTo(Vector.InvalidOpcode));
            PowerOffAndOn();
        }
    }

    public static IEnumerable<TestCaseData> Accesses =>
    [
        Of("mov load", 4, code => code.mov(ecx, __[ebx])),
        Of("mov store", 4, code => code.mov(__[ebx], ecx)),
        Of("add", 4, code => code.add(__[ebx], ecx)),
        Of("inc byte", 1, code => code.inc(__byte_ptr[ebx])),
        Of("xchg", 2, code => code.xchg(__[ebx], cx)),
        Of("cmpxchg8b", 8, code => code.cmpxchg8b(__qword_ptr[ebx])),
        Of("bts", 4, code => code.bts(__dword_ptr[ebx], 3)),
        Of("push m", 4, code => code.push(__dword_ptr[ebx])),
        Of("pop m", 4, code => code.pop(__dword_ptr[ebx])),
        Of("stos", 4, code => code.stosd()),
        Of("lods", 4, code => code.lodsd()),
        Of("scas", 2, code => code.scasw()),
        Of("rep movs", 4, code => code.rep.movsd()),
        Of("rep stos", 1, code => code.rep.stosb()),
        Of("fld80", 10, code => code.fld(__tbyte_ptr[ebx])),
        Of("fnstenv", 28, code => code.fnstenv(__[ebx])),
        Of("movups", 16, code => code.movups(xmm0, __[ebx])),
        Of("movups store", 16, code => code.movups(__[ebx], xmm0)),
        Of("movsd", 8, code => code.movsd(xmm0, __qword_ptr[ebx])),
        Of("movq mm", 8, code => code.movq(mm0, __qword_ptr[ebx])),
        Of("sgdt", 6, code => code.sgdt(__[ebx])),
        Of("bound", 8, code => code.db(0x62, 0x2B)),
        Of("setcc", 1, code => code.setc(__[ebx])),
        Of("mov to a segment", 2, code => code.db(0x8E, 0x23)),
        Of("verr", 2, code => code.verr(__[ebx])),
        Of("xlat", 1 + Any, code => code.xlatb()),   // AL is Any
    ];

    // §6.15, #SS: through SS the same is a stack fault, by whatever way.
    [TestCaseSource(nameof(StackAccesses))]
    public void Every_access_through_the_stack_is_held_against_its_limit(Action<Assembler> access, uint esp)
    {
        Pc.SetDescriptor(Any, ProtectedPc.Data, 0xFFF, Writable | Ring3 | Big);
        Run(code =>
        {
            code.mov(ss, eax);
            code.mov(AssemblerRegisters.esp, (int)esp);
            access(code);
            code.ud2();
        }, ring: 3, eax: Any | 3);

        AssertFault(Vector.StackFault, 0, ProtectedPc.Code + 7);
        Assert.That(Pc.Frame(5)[4], Is.EqualTo(esp), "ESP as it was");
    }

    public static IEnumerable<TestCaseData> StackAccesses =>
    [
        On("push", 0, code => code.push(eax)),
        On("push beyond", 0x1004, code => code.push(eax)),
        On("push in part", 0x1001, code => code.push(eax)),
        On("pop", 0xFFD, code => code.pop(eax)),
        On("pushad", 16, code => code.pushad()),
        On("popad", 0xFF0, code => code.popad()),
        On("pushfd", 2, code => code.pushfd()),
        On("popfd", 0x1000, code => code.popfd()),
        On("call", 0, code => code.call(ProtectedPc.Code)),
        On("call eax", 0, code => code.call(ebx)),
        On("ret", 0xFFE, code => code.ret()),
        On("enter", 2, code => code.enter(0, 0)),
        On("load by esp", 0xFFE, code => code.mov(eax, __[esp])),
        On("store by esp", 0xFFE, code => code.mov(__[esp], eax)),
        On("load by ss", 0x100, code => code.mov(eax, __dword_ptr.ss[ebx + 0xFFD])),
        On("push es", 0, code => code.push(es)),
        On("pop es", 0xFFE, code => code.pop(es)),
        On("retf", 0xFF9, code => code.retf()),
        On("iretd", 0xFF5, code => code.iretd()),
        On("call far", 4, code => code.db([0x9A, .. BitConverter.GetBytes(ProtectedPc.Code), .. BitConverter.GetBytes(Code3)])),
    ];

    // §5.3 leaves open what an operand does that reaches over 4 GiB in a flat segment: it goes on at 0.
    [Test]
    public void Flat_addresses_wrap_at_4_gib()
    {
        Pc.Write32(0, 0x1122_3344);
        Run(code =>
        {
            code.mov(eax, __[ebx]);
            code.ud2();
        }, ebx: 0xFFFF_FFFE);

        Assert.That(Register(Gpr.Rax), Is.EqualTo(0x3344_FFFF));
    }

    [Test]
    public void A_base_and_an_offset_wrap_at_4_gib()
    {
        Pc.SetDescriptor(Any, 0xFFFF_F000, FourGiB, Writable | Big | Pages);
        Pc.Write32(ProtectedPc.Data, 77);
        Run(code =>
        {
            code.mov(es, eax);
            code.mov(ecx, __dword_ptr.es[ebx]);
            code.ud2();
        }, eax: Any, ebx: ProtectedPc.Data + 0x1000);

        Assert.That(Register(Gpr.Rcx), Is.EqualTo(77));
    }

    // §3.4.2 and §5.4.1: a null selector is loaded but not used.
    [TestCase(0)]
    [TestCase(3)]
    public void A_null_segment_is_loaded_but_not_used(int selector)
    {
        Run(code =>
        {
            code.mov(es, eax);
            code.mov(ecx, __dword_ptr.es[ebx]);
        }, eax: (uint)selector, ebx: ProtectedPc.Data);

        AssertFault(Vector.GeneralProtection, 0, ProtectedPc.Code + 2);
    }

    // BT with an offset from a register reaches below its operand, and that is what is held against the limit.
    [TestCase(-8, true)]
    [TestCase(-32 * 8, true)]
    [TestCase(-0x1008 * 8, false)]
    [TestCase(0x7FFF_FFFF, false)]
    public void A_bit_string_reaches_beyond_its_operand(int bit, bool isAllowed)
    {
        Pc.SetDescriptor(Any, ProtectedPc.Data, 0x1FFF, Writable | Big);
        State->Gpr[Gpr.Rcx] = (uint)bit;
        Run(code =>
        {
            code.mov(ds, eax);
            code.bts(__dword_ptr[ebx], ecx);
            code.ud2();
        }, eax: Any, ebx: 0x1000);

        Assert.That(Pc.HaltedVector, Is.EqualTo(isAllowed ? Vector.InvalidOpcode : Vector.GeneralProtection));
        if (isAllowed) Assert.That(Pc.Read32((ulong)(ProtectedPc.Data + 0x1000 + (bit >> 5 << 2))), Is.EqualTo(1U << (bit & 31)));
    }

    static TestCaseData Of(string name, int bytes, Action<Assembler> access) =>
        new TestCaseData(access, bytes).SetArgDisplayNames(name);

    static TestCaseData On(string name, uint esp, Action<Assembler> access) =>
        new TestCaseData(access, esp).SetArgDisplayNames(name);

    void Run(Action<Assembler> write, int ring = 0, uint eax = 0, uint ebx = 0)
    {
        State->Gpr[Gpr.Rax] = eax;
        State->Gpr[Gpr.Rbx] = ebx;
        base.Run(write, ring);
    }

    void PowerOffAndOn()
    {
        PowerOff();
        PowerOn();
    }
}
