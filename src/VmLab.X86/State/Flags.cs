using System.Numerics;
using System.Runtime.CompilerServices;

namespace VmLab.X86;

/// <summary>Arithmetic flags, kept as what they follow from and computed when somebody asks.</summary>
/// <remarks>
/// FlagsResult is the last result, sign-extended to 64 bits: ZF is "it is zero", SF its top bit, PF the parity of its
/// low byte.
/// FlagsCarries holds in bit 63 the carry (CF), in bit 62 the carry into the top bit (OF is their difference), in bit
/// 3 AF;
/// bits 8 to 15 are xored into the parity byte and bit 0 into the sign, so that any combination of flags can be stored.
/// </remarks>
static unsafe class Flags
{
    const ulong CarryOut = 1UL << 63, CarryIn = 1UL << 62, AdjustCarry = 8, SignFlip = 1;
    const int ParityShift = 8;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Carry(CpuState* s) => (long)s->FlagsCarries < 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Zero(CpuState* s) => s->FlagsResult == 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Sign(CpuState* s) => ((s->FlagsResult >> 63 ^ s->FlagsCarries) & 1) != 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Overflow(CpuState* s) => (long)(s->FlagsCarries ^ s->FlagsCarries << 1) < 0;

    public static bool Parity(CpuState* s) =>
        (BitOperations.PopCount((s->FlagsResult ^ s->FlagsCarries >> ParityShift) & 0xFF) & 1) == 0;

    public static bool Adjust(CpuState* s) => (s->FlagsCarries & AdjustCarry) != 0;

    /// <summary>The six arithmetic flags at their places in RFLAGS.</summary>
    public static ulong Arithmetic(CpuState* s) =>
        (Carry(s) ? Rflags.Carry : 0) | (Parity(s) ? Rflags.Parity : 0) | (Adjust(s) ? Rflags.Adjust : 0)
        | (Zero(s) ? Rflags.Zero : 0) | (Sign(s) ? Rflags.Sign : 0) | (Overflow(s) ? Rflags.Overflow : 0);

    public static ulong All(CpuState* s) => Arithmetic(s) | s->SystemFlags | Rflags.Fixed;

    public static void SetArithmetic(CpuState* s, ulong flags)
    {
        bool zero = (flags & Rflags.Zero) != 0, sign = (flags & Rflags.Sign) != 0;
        ulong result = zero ? 0 : 1UL;   // parity of 0 is even, of 1 odd
        bool isEven = zero, wantsEven = (flags & Rflags.Parity) != 0;
        bool carry = (flags & Rflags.Carry) != 0, overflow = (flags & Rflags.Overflow) != 0;
        s->FlagsResult = result;
        s->FlagsCarries = (carry ? CarryOut : 0) | (carry != overflow ? CarryIn : 0)
            | ((flags & Rflags.Adjust) != 0 ? AdjustCarry : 0)
            | (isEven != wantsEven ? 1UL << ParityShift : 0)
            | (sign ? SignFlip : 0);
    }

    /// <summary>Replaces CF and OF, and leaves the others.</summary>
    public static void SetCarryOverflow(CpuState* s, bool carry, bool overflow) =>
        s->FlagsCarries = s->FlagsCarries & ~(CarryOut | CarryIn) | (carry ? CarryOut : 0) | (carry != overflow ? CarryIn : 0);

    public static void SetCarry(CpuState* s, bool carry) => SetCarryOverflow(s, carry, Overflow(s));

    public static void SetZero(CpuState* s, bool zero) =>
        SetArithmetic(s, Arithmetic(s) & ~Rflags.Zero | (zero ? Rflags.Zero : 0));

    /// <summary>Carry vector of an addition or subtraction, from its per-bit carries.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Vector(ulong carries, int bits) =>
        carries << 64 - bits & (CarryOut | CarryIn) | carries & AdjustCarry;

    /// <summary>Carry vector with CF and OF as given and AF clear.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Vector(bool carry, bool overflow) =>
        (carry ? CarryOut : 0) | (carry != overflow ? CarryIn : 0);
}
