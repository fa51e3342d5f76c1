using VmLab.Core;
using VmLab.X86.Floating;

namespace VmLab.X86.Tests.Floating;

/// <summary>RCPSS and RSQRTSS, where VmLab has bits of its own.</summary>
public sealed class ApproximationTests
{
    // Intel SDM vol. 2, RCPSS: |relative error| ≤ 1.5 × 2^-12.
    const double Bound = 1.5 / 4096;

    [TestCase(0x3F800000u, 0x3F800000u)]   // 1
    [TestCase(0x40400000u, 0x3EAAB000u)]   // 3: 0.33338
    [TestCase(0xC0000000u, 0xBF000000u)]   // −2
    [TestCase(0x00000000u, 0x7F800000u)]
    [TestCase(0x80000001u, 0xFF800000u)]   // a denormal number is a zero
    [TestCase(0x7F800000u, 0x00000000u)]
    [TestCase(0xFF7FFFFFu, 0x80000000u)]   // the result would be denormal
    [TestCase(0x7F800001u, 0x7FC00001u)]
    public void Reciprocal_is_rounded_to_twelve_bits(uint operand, uint expected) =>
        Assert.That(Binary32.Reciprocal(operand), Is.EqualTo(expected));

    [TestCase(0x40800000u, 0x3F000000u)]   // 4
    [TestCase(0x40000000u, 0x3F350000u)]   // 2: 0.70703
    [TestCase(0x80000000u, 0xFF800000u)]
    [TestCase(0xBF800000u, 0xFFC00000u)]
    [TestCase(0x7F800000u, 0x00000000u)]
    [TestCase(0xFF800000u, 0xFFC00000u)]
    [TestCase(0xFFC12345u, 0xFFC12345u)]
    public void Reciprocal_root_is_rounded_to_twelve_bits(uint operand, uint expected) =>
        Assert.That(Binary32.ReciprocalSquareRoot(operand), Is.EqualTo(expected));

    [Test]
    public void Approximations_are_within_the_manuals_bound()
    {
        var rng = Rng.FromSeed(1);
        for (int i = 0; i < 100_000; i++)
        {
            // Normal operands whose reciprocals are normal too.
            uint operand = (uint)(0x0080_0000 + rng.NextBelow(0x7E00_0000 - 0x0080_0000));
            double value = BitConverter.UInt32BitsToSingle(operand);

            double reciprocal = BitConverter.UInt32BitsToSingle(Binary32.Reciprocal(operand));
            double root = BitConverter.UInt32BitsToSingle(Binary32.ReciprocalSquareRoot(operand));

            Assert.That(Math.Abs(reciprocal * value - 1), Is.LessThan(Bound), $"{operand:X}");
            Assert.That(Math.Abs(root * Math.Sqrt(value) - 1), Is.LessThan(Bound), $"{operand:X}");
        }
    }
}
