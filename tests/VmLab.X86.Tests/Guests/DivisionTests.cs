using System.Numerics;
using Iced.Intel;
using VmLab.X86.Tests.Oracle;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.X86.Tests.Guests;

/// <summary>Division by any numbers, against unbounded arithmetic: the host cannot tell, since there it would trap.</summary>
/// <remarks>Source: Intel SDM vol. 2, DIV and IDIV: #DE where the divisor is 0 or the quotient does not fit.</remarks>
public sealed unsafe class DivisionTests : GuestTest
{
    const int Cases = 3_000;

    [Test]
    public void A_quotient_that_does_not_fit_is_a_divide_error([Values(8, 16, 32, 64)] int bits, [Values] bool isSigned)
    {
        Pc.Load(code => Write(code, bits, isSigned));
        var random = new Random(bits);
        for (int i = 0; i < Cases; i++)
        {
            ulong mask = ulong.MaxValue >> 64 - bits;
            ulong low = CaseGenerator.Value(random) & mask, divisor = CaseGenerator.Value(random) & mask;
            ulong high = random.Next(3) switch
            {
                0 => CaseGenerator.Value(random) & mask,
                1 => divisor - (ulong)random.Next(2) & mask,                      // about where it begins not to fit
                _ => (isSigned && low >> bits - 1 != 0 ? ulong.MaxValue : 0) & mask,
            };
            BigInteger dividend = (BigInteger)high << bits | low, by = divisor;
            if (isSigned) (dividend, by) = (Signed(dividend, 2 * bits), Signed(by, bits));
            (ulong Quotient, ulong Remainder)? expected = Divide(dividend, by, bits, isSigned);

            (ulong Quotient, ulong Remainder)? found = Run(low, high, divisor, bits);

            Assert.That(found, Is.EqualTo(expected), () => $"{high:X}:{low:X} by {divisor:X}");
        }
    }

    static void Write(Assembler code, int bits, bool isSigned)
    {
        switch (bits, isSigned)
        {
            case (8, false): code.div(cl); break;
            case (8, true): code.idiv(cl); break;
            case (16, false): code.div(cx); break;
            case (16, true): code.idiv(cx); break;
            case (32, false): code.div(ecx); break;
            case (32, true): code.idiv(ecx); break;
            case (_, false): code.div(rcx); break;
            default: code.idiv(rcx); break;
        }
    }

    static (ulong, ulong)? Divide(BigInteger dividend, BigInteger divisor, int bits, bool isSigned)
    {
        if (divisor.IsZero) return null;
        BigInteger quotient = BigInteger.DivRem(dividend, divisor, out BigInteger remainder);
        BigInteger least = isSigned ? -(BigInteger.One << bits - 1) : 0;
        BigInteger most = (BigInteger.One << (isSigned ? bits - 1 : bits)) - 1;
        BigInteger mask = (BigInteger.One << bits) - 1;
        return quotient < least || quotient > most ? null : ((ulong)(quotient & mask), (ulong)(remainder & mask));
    }

    static BigInteger Signed(BigInteger value, int bits) => value >> bits - 1 == 0 ? value : value - (BigInteger.One << bits);

    /// <returns>Quotient and remainder, or <see langword="null"/> for #DE.</returns>
    (ulong, ulong)? Run(ulong low, ulong high, ulong divisor, int bits)
    {
        State->Gpr[Gpr.Rax] = bits == 8 ? high << 8 | low : low;
        State->Gpr[Gpr.Rdx] = high;
        State->Gpr[Gpr.Rcx] = divisor;
        State->Gpr[Gpr.Rsp] = VcpuFixture.StackTop;
        State->Rip = VcpuFixture.Code;
        Pc.Cpu.Run(1);
        if (State->Rip == VcpuFixture.HandlerOf(Vector.DivideError)) return null;
        ulong mask = ulong.MaxValue >> 64 - bits, rax = State->Gpr[Gpr.Rax];
        return bits == 8 ? (rax & 0xFF, rax >> 8 & 0xFF) : (rax & mask, State->Gpr[Gpr.Rdx] & mask);
    }
}
