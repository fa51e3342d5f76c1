namespace VmLab.X86;

/// <summary>What the registers that give memory its type may hold. Memory here is the same whatever its type.</summary>
/// <remarks>Source: Intel SDM vol. 3A §12.11.2 (MTRRs), §12.12.2 and table 12-10 (PAT).</remarks>
static class MemoryTypes
{
    const int Uncached = 0, WriteCombining = 1, WriteThrough = 4, WriteProtected = 5, WriteBack = 6, UncachedMinus = 7;
    const ulong BeyondAddress = ~((1UL << PageWalker.PhysicalBits) - 1);

    /// <summary>The page attribute table: eight types, and UC- is one of them.</summary>
    public static bool AreOfPat(ulong value)
    {
        for (int i = 0; i < 64; i += 8)
            if ((byte)(value >> i) is not UncachedMinus and var type && !IsType(type)) return false;
        return true;
    }

    /// <summary>A fixed-range MTRR: eight types.</summary>
    public static bool AreOfMtrr(ulong value)
    {
        for (int i = 0; i < 64; i += 8)
            if (!IsType((byte)(value >> i))) return false;
        return true;
    }

    /// <summary>The default type, with the enable bits 10 and 11.</summary>
    public static bool IsDefault(ulong value) => IsType((byte)value) && (value & ~0xCFFUL) == 0;

    /// <summary>The base of a variable range: a type and a page's address.</summary>
    public static bool IsBase(ulong value) => IsType((byte)value) && (value & (BeyondAddress | 0xF00)) == 0;

    /// <summary>The mask of a variable range: the valid bit 11, and address bits.</summary>
    public static bool IsMask(ulong value) => (value & (BeyondAddress | 0x7FF)) == 0;

    static bool IsType(byte type) => type is Uncached or WriteCombining or WriteThrough or WriteProtected or WriteBack;
}
