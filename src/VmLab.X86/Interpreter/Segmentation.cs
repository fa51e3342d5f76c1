namespace VmLab.X86;

/// <summary>Segments outside 64-bit mode. Source: Intel SDM vol. 3A §5.3 to §5.5.</summary>
/// <remarks>
/// A segment that allows everything gives a plain linear address. Any other gives a claim: an address that no TLB entry matches, so
/// that the slow path, which knows how many bytes are touched and why, holds it against limit, type and rights. Linear addresses wrap
/// at 4 GiB, within an operand too: what §5.3 leaves to the implementation for such a segment is defined so.
/// </remarks>
static unsafe class Segmentation
{
    // What is added to a claim later (the AL of XLAT, the bit offset of BT) is carried or borrowed by the guard.
    const ulong Mark = 1UL << 62, Guard = 1UL << 40;
    const int SegmentShift = 48;

    public static ulong Linear(CpuState* s, int segment, uint offset)
    {
        if (segment == CpuState.NoSegment) return offset;
        ulong linear = (uint)(s->SegmentBases[segment] + offset);
        return AllowsAll(s->SegmentRights[segment], s->SegmentLimits[segment])
            ? linear
            : Mark | (ulong)segment << SegmentShift | Guard | linear;
    }

    /// <summary>Outside 64-bit mode, whether an address is a claim on a segment.</summary>
    public static bool IsClaim(ulong linear) => linear >> 62 == 1;

    public static int SegmentOf(ulong claim) => (int)(claim >> SegmentShift) & 7;

    /// <summary>Present writable data that grows up to 4 GiB.</summary>
    public static bool AllowsAll(ushort rights, uint limit)
    {
        const ushort Kind = SegmentRights.Present | SegmentRights.NotSystem | SegmentRights.Code | SegmentRights.ExpandDown | SegmentRights.Writable;
        return (rights & Kind) == (SegmentRights.Present | SegmentRights.NotSystem | SegmentRights.Writable) && limit == uint.MaxValue;
    }

    /// <summary>Whether a segment, null ones included, allows an access to all of its bytes.</summary>
    public static bool Allows(ushort rights, uint limit, uint offset, int bytes, bool isWrite)
    {
        if ((rights & SegmentRights.Present) == 0) return false;   // a null selector was loaded
        bool isCode = (rights & SegmentRights.Code) != 0, isPlus = (rights & SegmentRights.Writable) != 0;
        if (isWrite ? isCode || !isPlus : isCode && !isPlus) return false;
        ulong last = offset + (ulong)bytes - 1;
        bool growsDown = !isCode && (rights & SegmentRights.ExpandDown) != 0;
        if (!growsDown) return last <= limit || limit == uint.MaxValue;
        return offset > limit && ((rights & SegmentRights.Big) != 0 ? last <= uint.MaxValue : last <= ushort.MaxValue);
    }
}
