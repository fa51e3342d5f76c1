using System.Runtime.InteropServices;
using Iced.Intel;
using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Sse;

/// <summary>What vector instructions raise, and that they leave everything as it was when they do.</summary>
public sealed unsafe class VectorFaultTests
{
    static readonly Mnemonic[] s_anywhere =
    [
        Mnemonic.Movups, Mnemonic.Movupd, Mnemonic.Movdqu, Mnemonic.Lddqu, Mnemonic.Pcmpistri, Mnemonic.Pcmpistrm,
        Mnemonic.Pcmpestri, Mnemonic.Pcmpestrm, Mnemonic.Pcmpestri64, Mnemonic.Pcmpestrm64,
    ];

    static readonly CpuidFeature[] s_unannounced =
    [
        CpuidFeature.AES, CpuidFeature.PCLMULQDQ, CpuidFeature.SHA, CpuidFeature.GFNI, CpuidFeature.SSE4A,
        CpuidFeature.D3NOW, CpuidFeature.D3NOWEXT, CpuidFeature.XSAVE, CpuidFeature.XSAVEOPT, CpuidFeature.XSAVEC,
        CpuidFeature.MOVBE, CpuidFeature.ADX, CpuidFeature.MOVDIRI, CpuidFeature.CLWB,
    ];

    readonly VectorGuest _guest = new();
    readonly VectorState* _state = VectorState.Allocate(), _before = VectorState.Allocate();

    [OneTimeTearDown]
    public void TearDown()
    {
        _guest.Dispose();
        NativeMemory.AlignedFree(_state);
        NativeMemory.AlignedFree(_before);
    }

    [TearDown]
    public void ResetControl() => _guest.SetControl(_guest.DefaultCr0, _guest.DefaultCr4);

    [TestCase(0UL, Cr4.FxSave, null, null)]
    [TestCase(0UL, 0UL, Vector.InvalidOpcode, null)]
    [TestCase(Cr0.TaskSwitched, Cr4.FxSave, Vector.DeviceNotAvailable, Vector.DeviceNotAvailable)]
    [TestCase(Cr0.Emulation, Cr4.FxSave, Vector.InvalidOpcode, Vector.InvalidOpcode)]
    [TestCase(Cr0.TaskSwitched, 0UL, Vector.InvalidOpcode, Vector.DeviceNotAvailable)]
    [TestCase(Cr0.Emulation | Cr0.TaskSwitched, 0UL, Vector.InvalidOpcode, Vector.InvalidOpcode)]
    public void Control_registers_forbid_instructions(ulong cr0, ulong cr4, byte? sse, byte? mmx)
    {
        const ulong Bits4 = Cr4.FxSave;
        _guest.SetControl(_guest.DefaultCr0 | cr0, _guest.DefaultCr4 & ~Bits4 | cr4);

        Assert.Multiple(() =>
        {
            Assert.That(Run(code => code.addps(xmm1, xmm2)), Is.EqualTo(sse));
            Assert.That(Run(code => code.movd(eax, xmm2)), Is.EqualTo(sse));
            Assert.That(Run(code => code.cvtpi2ps(xmm1, mm2)), Is.EqualTo(sse));
            Assert.That(Run(code => code.stmxcsr(__dword_ptr[rsi])), Is.EqualTo(sse));
            Assert.That(Run(code => code.paddb(mm1, mm2)), Is.EqualTo(mmx));
            Assert.That(Run(code => code.pavgb(mm1, mm2)), Is.EqualTo(mmx));
            Assert.That(Run(code => code.emms()), Is.EqualTo(mmx));
            Assert.That(Run(code => code.fxsave64(__[rsi + 0x100])), Is.EqualTo(mmx));
            Assert.That(Run(code => code.fxrstor64(__[rsi + 0x100])), Is.EqualTo(mmx));
            Assert.That(Run(code => code.movnti(__dword_ptr[rsi], eax)), Is.Null);
            Assert.That(Run(code => code.sfence()), Is.Null);
            Assert.That(Run(code => code.crc32(eax, ecx)), Is.Null);
        });
    }

    [Test]
    public void Clts_lets_the_next_instruction_run()
    {
        _guest.SetControl(_guest.DefaultCr0 | Cr0.TaskSwitched, _guest.DefaultCr4);
        _guest.Cpu->Xmm[0] = 5;

        int? vector = _guest.Run(VectorGuest.Assemble(code =>
        {
            code.clts();
            code.paddq(xmm0, xmm0);
            code.mov(rax, cr0);
            code.or(rax, (int)Cr0.TaskSwitched);
            code.mov(cr0, rax);
            code.paddq(xmm0, xmm0);
        }), counts: 6);

        Assert.Multiple(() =>
        {
            Assert.That(vector, Is.EqualTo(Vector.DeviceNotAvailable));
            Assert.That(_guest.Cpu->Xmm[0], Is.EqualTo(10));
        });
    }

    [TestCaseSource(nameof(MemoryCodes))]
    public void Memory_of_sixteen_bytes_must_be_aligned(Code code)
    {
        var rng = Rng.FromSeed((ulong)code);
        var form = new VectorCase(code, ref rng, displacement: 5);
        bool isFree = form.Instruction.MemorySize.GetSize() != 16 || s_anywhere.Contains(form.Instruction.Mnemonic);
        Fill(form, ref rng);

        int? vector = _guest.Run(form.Bytes, _state);

        Assert.That(vector, Is.EqualTo(isFree ? null : (int?)Vector.GeneralProtection), form.ToString());
        if (vector is not null) AssertUnchanged(form);
    }

    [TestCaseSource(nameof(MemoryCodes))]
    public void Page_fault_changes_nothing(Code code)
    {
        var rng = Rng.FromSeed((ulong)code);
        const int ToUnmapped = (int)(VectorGuest.Unmapped - VectorGuest.State) - VectorState.MemoryOffset;
        var form = new VectorCase(code, ref rng, ToUnmapped);
        Fill(form, ref rng);

        int? vector = _guest.Run(form.Bytes, _state);

        Assert.That(vector, Is.EqualTo((int?)Vector.PageFault), form.ToString());
        AssertUnchanged(form);
    }

    [TestCaseSource(nameof(MemoryCodes))]
    public void Operand_in_two_pages_is_like_one_in_a_page(Code code)
    {
        const int Near = 16, Far = 0x1000 - VectorState.MemoryOffset - 3;   // from the state's page into the next
        var rng = Rng.FromSeed((ulong)code);
        var near = new VectorCase(code, ref rng, Near);
        var far = near.MovedTo(Far);
        int length = near.Instruction.MemorySize.GetSize();
        if (length == 16 && !s_anywhere.Contains(near.Instruction.Mnemonic)) Assert.Pass("It cannot cross a page.");
        Fill(near, ref rng);
        var operand = new Span<byte>(_before->Memory + Near, length).ToArray();

        int? first = _guest.Run(near.Bytes, _before);
        var nearResult = new Span<byte>(_before->Memory + Near, length).ToArray();
        const ulong Memory = VectorGuest.State + VectorState.MemoryOffset;
        _guest.Write(Memory + Far, operand);
        int? second = _guest.Run(far.Bytes, _state);

        Assert.That(second, Is.EqualTo(first));
        Assert.That(_guest.Read(Memory + Far, length).ToArray(), Is.EqualTo(nearResult), far.ToString());
        Assert.That(Registers(_state), Is.EqualTo(Registers(_before)), far.ToString());
    }

    [TestCaseSource(nameof(UnannouncedCodes))]
    public void What_is_not_announced_is_not_there(Code code)
    {
        var rng = Rng.FromSeed(1);
        var form = new VectorCase(code, ref rng);

        Assert.That(_guest.Run(form.Bytes), Is.EqualTo((int?)Vector.InvalidOpcode), form.ToString());
    }

    [Test]
    public void Avx_is_not_there()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Run(code => code.vaddps(xmm1, xmm2, xmm3)), Is.EqualTo((int?)Vector.InvalidOpcode));
            Assert.That(Run(code => code.vpxor(ymm1, ymm2, ymm3)), Is.EqualTo((int?)Vector.InvalidOpcode));
            Assert.That(Run(code => code.vzeroupper()), Is.EqualTo((int?)Vector.InvalidOpcode));
            Assert.That(Run(code => code.xgetbv()), Is.EqualTo((int?)Vector.InvalidOpcode));
        });
    }

    [TestCase(true, Vector.SimdFloatingPoint)]
    [TestCase(false, Vector.InvalidOpcode)]
    public void Unmasked_exception_is_a_vector_of_its_own_only_when_enabled(bool isEnabled, byte expected)
    {
        _guest.SetControl(_guest.DefaultCr0, isEnabled ? _guest.DefaultCr4 : _guest.DefaultCr4 & ~Cr4.SimdExceptions);
        _guest.Cpu->Mxcsr = 0x1D80;   // division by zero unmasked
        (_guest.Cpu->Xmm[2], _guest.Cpu->Xmm[4]) = (0x3FF0_0000_0000_0000, 0);

        int? vector = Run(code => code.divsd(xmm1, xmm2));

        Assert.Multiple(() =>
        {
            Assert.That(vector, Is.EqualTo((int?)expected));
            Assert.That(_guest.Cpu->Mxcsr, Is.EqualTo(0x1D84));
            Assert.That(_guest.Cpu->Xmm[2], Is.EqualTo(0x3FF0_0000_0000_0000));
        });
    }

    [Test]
    public void Reserved_bits_of_mxcsr_are_refused()
    {
        _guest.Cpu->Mxcsr = 0x1F80;
        _guest.Write(VectorGuest.State + 24, [0x80, 0x1F, 1, 0]);

        Assert.Multiple(() =>
        {
            Assert.That(Run(code => code.ldmxcsr(__dword_ptr[rdi + 24])), Is.EqualTo((int?)Vector.GeneralProtection));
            Assert.That(Run(code => code.fxrstor64(__[rdi])), Is.EqualTo((int?)Vector.GeneralProtection));
            Assert.That(_guest.Cpu->Mxcsr, Is.EqualTo(0x1F80));
        });
    }

    [Test]
    public void Masked_store_touches_only_what_the_mask_selects()
    {
        CpuState* s = _guest.Cpu;
        const ulong Edge = VectorGuest.Unmapped - 8;
        s->Xmm[0] = s->Xmm[1] = 0x1122_3344_5566_7788;
        (s->Xmm[2], s->Xmm[3]) = (0x80FF_0000_0000_0080, 0);
        _guest.Write(Edge, new byte[8]);

        int? inside = Run(code => code.maskmovdqu(xmm0, xmm1), prepare: s => s->Gpr[Gpr.Rdi] = Edge);
        s->Xmm[3] = 0x80;
        int? outside = Run(code => code.maskmovdqu(xmm0, xmm1), prepare: s => s->Gpr[Gpr.Rdi] = Edge);

        Assert.Multiple(() =>
        {
            Assert.That(inside, Is.Null);
            Assert.That(_guest.Read(Edge, 8).ToArray(), Is.EqualTo(new byte[] { 0x88, 0, 0, 0, 0, 0, 0x22, 0x11 }));
            Assert.That(outside, Is.EqualTo((int?)Vector.PageFault));
        });
    }

    public static IEnumerable<Code> MemoryCodes => VectorOracleTests.Codes.Where(code =>
        Enumerable.Range(0, code.ToOpCode().OpCount).Any(i => VectorCase.MayBeMemory(code.ToOpCode().GetOpKind(i))));

    public static IEnumerable<Code> UnannouncedCodes => Enum.GetValues<Code>().Where(code =>
        code.Encoding() is EncodingKind.Legacy or EncodingKind.D3NOW && code.ToOpCode().Mode64
        && code.CpuidFeatures().Any(s_unannounced.Contains));

    void Fill(VectorCase form, ref Rng rng)
    {
        form.Fill(_state, 0x1F80, ref rng);
        *_before = *_state;
    }

    void AssertUnchanged(VectorCase form)
    {
        Assert.That(Registers(_state), Is.EqualTo(Registers(_before)), form.ToString());
        Assert.That(_state->Flags, Is.EqualTo(_before->Flags & Rflags.Arithmetic), form.ToString());
    }

    /// <summary>General registers but RSP, RSI and RDI, then the image but for what the x87 alone uses.</summary>
    static byte[] Registers(VectorState* state)
    {
        var general = new ReadOnlySpan<ulong>(state->Gpr, 16).ToArray();
        general[Gpr.Rsp] = general[Gpr.Rsi] = general[Gpr.Rdi] = 0;
        var image = new ReadOnlySpan<byte>(state->Image, 416);
        return [.. MemoryMarshal.AsBytes<ulong>(general), .. image[..6], .. image[24..28], .. image[32..]];
    }

    delegate void Prepare(CpuState* s);

    int? Run(Action<Assembler> write, Prepare? prepare = null)
    {
        CpuState* s = _guest.Cpu;
        s->Gpr[Gpr.Rsi] = s->Gpr[Gpr.Rdi] = VectorGuest.State;
        prepare?.Invoke(s);
        return _guest.Run(VectorGuest.Assemble(write));
    }
}
