using System.Numerics;

namespace VmLab.Devices;

/// <summary>A bit for each interrupt vector, 0 to 255.</summary>
public readonly record struct Bits256(ulong A, ulong B, ulong C, ulong D)
{
    public bool this[int bit] => (Quarter(bit >> 6) >> (bit & 63) & 1) != 0;

    /// <summary>The highest bit that is set, or -1.</summary>
    public int Highest =>
        D != 0 ? 255 - BitOperations.LeadingZeroCount(D)
        : C != 0 ? 191 - BitOperations.LeadingZeroCount(C)
        : B != 0 ? 127 - BitOperations.LeadingZeroCount(B)
        : 63 - BitOperations.LeadingZeroCount(A);

    /// <summary>Bits 32 times <paramref name="index"/> and up, as the eight registers of an APIC show them.</summary>
    public uint Word(int index) => (uint)(Quarter(index >> 1) >> 32 * (index & 1));

    public Bits256 With(int bit, bool value)
    {
        ulong mask = 1UL << (bit & 63), set = value ? mask : 0;
        return (bit >> 6) switch
        {
            0 => this with { A = A & ~mask | set },
            1 => this with { B = B & ~mask | set },
            2 => this with { C = C & ~mask | set },
            _ => this with { D = D & ~mask | set },
        };
    }

    ulong Quarter(int index) => index switch { 0 => A, 1 => B, 2 => C, _ => D };
}
