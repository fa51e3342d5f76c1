using VmLab.Core;
using VmLab.X86.Floating;

namespace VmLab.X86;

/// <summary>A segment register with what the processor has loaded into it.</summary>
/// <param name="Base">In bytes.</param>
/// <param name="Limit">Offset of the last byte.</param>
/// <param name="Rights">Bits 40 to 55 of the descriptor, the limit's cleared; see <see cref="SegmentRights"/>.</param>
public readonly record struct SegmentRegister(ushort Selector, ulong Base, uint Limit, ushort Rights);

// Registers beside the general ones, to look at between runs.
public sealed unsafe partial class Vcpu
{
    /// <summary>Privilege level, 0 (kernel) to 3 (user).</summary>
    public int PrivilegeLevel => _s->Cpl;

    /// <summary>What code is decoded as: 16, 32 or 64 bits.</summary>
    public int CodeBits => (_s->ModeKey & CodeKey.Long) != 0 ? 64
        : (_s->SegmentRights[Segment.Cs] & SegmentRights.Big) != 0 ? 32 : 16;

    /// <summary>The extended feature enable register.</summary>
    public ulong ExtendedFeatures => _s->Efer;

    public uint Mxcsr => _s->Mxcsr;

    public X87State X87 => _s->X87;

    /// <param name="number">As in <see cref="Segment"/>.</param>
    public SegmentRegister SegmentRegister(int number)
    {
        Require.InRange(number, 0, CpuState.SegmentCount - 1);
        return new(_s->SegmentSelectors[number], _s->SegmentBases[number], _s->SegmentLimits[number], _s->SegmentRights[number]);
    }

    /// <param name="number">0, 2, 3, 4 or 8.</param>
    public ulong ControlRegister(int number) => number switch
    {
        0 => _s->Cr0,
        2 => _s->Cr2,
        3 => _s->Cr3,
        4 => _s->Cr4,
        8 => _board.Interrupts.Priority,
        _ => throw new ArgumentOutOfRangeException(nameof(number), number, "There are CR0, CR2, CR3, CR4 and CR8."),
    };

    /// <param name="number">0 to 7; 4 and 5 are 6 and 7.</param>
    public ulong DebugRegister(int number) => _s->Dr[Require.InRange(number, 0, 7) is 4 or 5 ? number + 2 : number];

    /// <param name="number">0 to 15.</param>
    public UInt128 Xmm(int number)
    {
        Require.InRange(number, 0, 15);
        return new UInt128(_s->Xmm[2 * number + 1], _s->Xmm[2 * number]);
    }
}
