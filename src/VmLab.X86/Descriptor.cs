namespace VmLab.X86;

/// <summary>A segment or system descriptor, unpacked. Source: Intel SDM vol. 3A §3.4.5.</summary>
/// <param name="Rights">As <see cref="CpuState.SegmentRights"/> keeps them.</param>
readonly record struct Descriptor(ulong Base, uint Limit, ushort Rights)
{
    public bool IsPresent => (Rights & SegmentRights.Present) != 0;
    public bool IsCodeOrData => (Rights & SegmentRights.NotSystem) != 0;
    public bool IsCode => IsCodeOrData && (Rights & SegmentRights.Code) != 0;
    public bool IsConforming => IsCode && (Rights & SegmentRights.Conforming) != 0;
    public bool IsWritableData => IsCodeOrData && !IsCode && (Rights & SegmentRights.Writable) != 0;
    public bool IsReadable => IsCodeOrData && (!IsCode || (Rights & SegmentRights.Writable) != 0);

    /// <summary>64-bit code; means nothing outside long mode.</summary>
    public bool IsLong => (Rights & SegmentRights.Long) != 0;
    public bool IsBig => (Rights & SegmentRights.Big) != 0;
    public int Dpl => Rights >> 5 & 3;
    public int SystemType => Rights & 0xF;

    public static Descriptor Unpack(ulong bits)
    {
        ulong segmentBase = bits >> 16 & 0xFF_FFFF | bits >> 32 & 0xFF00_0000;
        uint limit = (uint)(bits & 0xFFFF | bits >> 32 & 0xF_0000);
        var rights = (ushort)(bits >> 40 & 0xF0FF);
        if ((rights & SegmentRights.Granular) != 0) limit = limit << 12 | 0xFFF;
        return new(segmentBase, limit, rights);
    }
}

/// <summary>Types of system descriptors and gates. Source: Intel SDM vol. 3A table 3-2.</summary>
static class SystemType
{
    public const int Tss16 = 1, Ldt = 2, BusyTss16 = 3, CallGate16 = 4, TaskGate = 5, InterruptGate16 = 6, TrapGate16 = 7,
        Tss = 9, BusyTss = 11, CallGate = 12, InterruptGate = 14, TrapGate = 15;

    /// <summary>Added to an available TSS's type, it is busy.</summary>
    public const int Busy = 2;

    /// <summary>Set in the type of what is of 32 bits.</summary>
    public const int Wide = 8;
}

/// <summary>A call, interrupt or trap gate, unpacked. Source: Intel SDM vol. 3A §5.8.3, §6.11, §6.14.1.</summary>
/// <param name="Type">A <see cref="SystemType"/>, or above 15 for what is no gate.</param>
/// <param name="Count">A call gate's parameters, in words of its width; an interrupt gate's stack of the IST.</param>
/// <param name="Width">Bytes of what is pushed: 2, 4, or 8 in long mode.</param>
readonly record struct Gate(ushort Selector, ulong Offset, int Type, int Dpl, bool IsPresent, int Count, int Width)
{
    public static Gate Unpack(ulong low, ulong high, bool isLongMode)
    {
        int type = (int)(low >> 40) & 0x1F;
        bool isWide = (type & SystemType.Wide) != 0;
        ulong offset = low & 0xFFFF | (isWide ? low >> 32 & 0xFFFF_0000 : 0) | (isLongMode ? high << 32 : 0);
        return new((ushort)(low >> 16), offset, type, (int)(low >> 45) & 3, (low >> 47 & 1) != 0,
            (int)(low >> 32) & (isLongMode ? 7 : 31), isLongMode ? 8 : isWide ? 4 : 2);
    }
}
