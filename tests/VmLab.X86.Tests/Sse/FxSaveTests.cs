using System.Runtime.InteropServices;
using Iced.Intel;
using VmLab.Core;
using VmLab.X86.Tests.Native;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Sse;

/// <summary>FXSAVE and FXRSTOR against the host's, and in compatibility mode.</summary>
public sealed unsafe class FxSaveTests
{
    const int RegistersEnd = 416, ImageSize = 512;
    const int FromRsi = VectorState.ImageOffset - VectorState.MemoryOffset;

    readonly VectorGuest _guest = new();
    readonly VectorState* _state = VectorState.Allocate(), _host = VectorState.Allocate();

    [OneTimeTearDown]
    public void TearDown()
    {
        _guest.Dispose();
        NativeMemory.AlignedFree(_state);
        NativeMemory.AlignedFree(_host);
    }

    [Test]
    public void Saves_what_the_host_saves([Values(1, 2, 3, 4, 5)] int seed)
    {
        NativeCode.SkipElsewhere();
        using var oracle = new VectorOracle([0x90]);
        Fill((ulong)seed);
        new Span<byte>(_state->Image + RegistersEnd, ImageSize - RegistersEnd).Fill(0xA5);
        *_host = *_state;

        oracle.Run(_host);
        int? vector = Run(code => code.fxsave64(__[rsi + FromRsi]));

        var image = _guest.Read(VectorGuest.State + VectorState.ImageOffset, ImageSize).ToArray();
        Assert.Multiple(() =>
        {
            Assert.That(vector, Is.Null);
            Assert.That(Compared(image), Is.EqualTo(Compared(_host)));
            Assert.That(image[RegistersEnd..], Is.All.EqualTo(0xA5), "What is behind the registers stays.");
            Assert.That(image[28..32], Is.EqualTo(new byte[] { 0xFF, 0xFF, 0, 0 }), "The mask of MXCSR.");
        });
    }

    [Test]
    public void Restores_what_the_host_restores([Values(1, 2, 3, 4, 5)] int seed)
    {
        const ulong Elsewhere = VectorGuest.State + 0x1000;
        NativeCode.SkipElsewhere();
        using var oracle = new VectorOracle([0x90]);
        Fill((ulong)seed);
        *_host = *_state;
        oracle.Run(_host);
        _guest.Write(Elsewhere, new Span<byte>(_state->Image, ImageSize));
        Fill((ulong)seed + 100);

        int? vector = Run(code => code.fxrstor64(__[rdi + (int)(Elsewhere - VectorGuest.State)]));

        Assert.That(vector, Is.Null);
        Assert.That(Compared(_state), Is.EqualTo(Compared(_host)));
    }

    [Test]
    public void Needs_sixteen_byte_alignment()
    {
        Fill(1);
        Assert.Multiple(() =>
        {
            Assert.That(Run(code => code.fxsave64(__[rsi + 8])), Is.EqualTo((int?)Vector.GeneralProtection));
            Assert.That(Run(code => code.fxrstor64(__[rsi + 8])), Is.EqualTo((int?)Vector.GeneralProtection));
        });
    }

    [Test]
    public void Image_in_two_pages_is_whole_or_not_there()
    {
        const int Before = VectorState.MemoryOffset + 256;
        const int AcrossPages = 0x1000 - Before, IntoNothing = (int)(VectorGuest.Unmapped - VectorGuest.State) - Before;
        Fill(1);

        int? mapped = Run(code => code.fxsave64(__[rsi + AcrossPages]));
        var image = _guest.Read(VectorGuest.State + 0x1000 - 256, ImageSize).ToArray();
        _guest.Write(VectorGuest.Unmapped - 256, new byte[256]);
        int? unmapped = Run(code => code.fxsave64(__[rsi + IntoNothing]));

        Assert.Multiple(() =>
        {
            Assert.That(mapped, Is.Null);
            Assert.That(Compared(image), Is.EqualTo(Compared(_state)));
            Assert.That(unmapped, Is.EqualTo((int?)Vector.PageFault));
            Assert.That(_guest.Read(VectorGuest.Unmapped - 256, 256).ToArray(), Is.All.EqualTo(0));
        });
    }

    [Test]
    public void Compatibility_mode_has_eight_registers()
    {
        CpuState* s = _guest.Cpu;
        ushort rights = s->SegmentRights[Segment.Cs];
        s->SegmentRights[Segment.Cs] = 0xC09B;
        _guest.SetControl(_guest.DefaultCr0, _guest.DefaultCr4);
        for (int i = 0; i < 32; i++) s->Xmm[i] = ulong.MaxValue;
        _guest.Write(VectorGuest.State, new byte[ImageSize]);
        s->Gpr[Gpr.Rsi] = VectorGuest.State;

        int? vector = _guest.Run([0x0F, 0xAE, 0x06]);   // FXSAVE [ESI]

        s->SegmentRights[Segment.Cs] = rights;
        _guest.SetControl(_guest.DefaultCr0, _guest.DefaultCr4);
        var image = _guest.Read(VectorGuest.State, ImageSize).ToArray();
        Assert.Multiple(() =>
        {
            Assert.That(vector, Is.Null);
            Assert.That(image[160..288], Is.All.EqualTo(0xFF));
            Assert.That(image[288..], Is.All.EqualTo(0));
        });
    }

    void Fill(ulong seed)
    {
        var rng = Rng.FromSeed(seed);
        new VectorCase(Code.Pxor_xmm_xmmm128, ref rng).Fill(_state, 0x1F80 | (uint)rng.NextBelow(64), ref rng);
    }

    /// <summary>Without the pointers that AMD does not save, and MXCSR's mask.</summary>
    static byte[] Compared(ReadOnlySpan<byte> image) => [.. image[..6], .. image[24..28], .. image[32..RegistersEnd]];

    static byte[] Compared(VectorState* state) => Compared(new ReadOnlySpan<byte>(state->Image, ImageSize));

    int? Run(Action<Assembler> write) => _guest.Run(VectorGuest.Assemble(write), _state);
}
