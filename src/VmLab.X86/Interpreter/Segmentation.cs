namespace VmLab.X86;

/// <summary>Segments outside 64-bit mode. Source: Intel SDM vol. 3A §5.3.</summary>
/// <remarks>
/// Simplified: of an access, only the first byte is held against the limit, and a store is not held against the type.
/// </remarks>
static unsafe class Segmentation
{
    /// <summary>No linear address: an access there is #GP(0), or #SS(0) through the stack segment.</summary>
    const ulong Nowhere = 1UL << 62;

    public static ulong Linear(CpuState* s, int segment, uint offset) =>
        segment == CpuState.NoSegment ? offset
        : Allows(s, segment, offset) ? (uint)(s->SegmentBases[segment] + offset)
        : Nowhere;

    static bool Allows(CpuState* s, int segment, uint offset)
    {
        ushort rights = s->SegmentRights[segment];
        if ((rights & SegmentRights.Present) == 0) return false;   // a null selector was loaded
        bool growsDown = (rights & (SegmentRights.Code | SegmentRights.ExpandDown)) == SegmentRights.ExpandDown;
        if (!growsDown) return offset <= s->SegmentLimits[segment];
        return offset > s->SegmentLimits[segment] && ((rights & SegmentRights.Big) != 0 || offset <= ushort.MaxValue);
    }
}
