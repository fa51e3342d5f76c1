using Iced.Intel;
using VmLab.Core;
using VmLab.X86.Floating;
using VmLab.X86.Tests.Floating;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Sse;

/// <summary>RCPPS, RSQRTPS and their scalars: which elements they take and leave; the numbers are Binary32's.</summary>
public sealed unsafe class ApproximationTests
{
    public delegate uint Approximation(uint number);

    readonly VectorGuest _guest = new();

    [OneTimeTearDown]
    public void TearDown() => _guest.Dispose();

    public static IEnumerable<object[]> Forms =>
    [
        [(Action<Assembler>)(code => code.rcpps(xmm1, xmm2)), (Approximation)Binary32.Reciprocal, 4],
        [(Action<Assembler>)(code => code.rcpss(xmm1, xmm2)), (Approximation)Binary32.Reciprocal, 1],
        [(Action<Assembler>)(code => code.rsqrtps(xmm1, xmm2)), (Approximation)Binary32.ReciprocalSquareRoot, 4],
        [(Action<Assembler>)(code => code.rsqrtss(xmm1, xmm2)), (Approximation)Binary32.ReciprocalSquareRoot, 1],
    ];

    [TestCaseSource(nameof(Forms))]
    public void Replaces_its_elements_only(Action<Assembler> instruction, Approximation approximation, int count)
    {
        byte[] bytes = VectorGuest.Assemble(instruction);
        uint* target = (uint*)(_guest.Cpu->Xmm + 2), source = (uint*)(_guest.Cpu->Xmm + 4);
        var rng = Rng.FromSeed(1);
        for (int i = 0; i < 1_000; i++)
        {
            for (int j = 0; j < 4; j++) (target[j], source[j]) = ((uint)rng.Next(), (uint)Numbers.Any32(ref rng));
            uint[] expected = new Span<uint>(target, 4).ToArray();
            for (int j = 0; j < count; j++) expected[j] = approximation(source[j]);

            int? vector = _guest.Run(bytes);

            Assert.That(vector, Is.Null);
            Assert.That(new Span<uint>(target, 4).ToArray(), Is.EqualTo(expected));
        }
    }
}
