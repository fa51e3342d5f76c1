namespace VmLab.X86.Tests.Paging;

/// <summary>A second reading of the manual: plain walks over an array, with nothing kept between them.</summary>
/// <param name="memory">RAM from address 0; what lies behind it reads as ones and swallows writes.</param>
/// <remarks>Source: Intel SDM vol. 3A §4.3 to §4.8, for physical addresses of 40 bits.</remarks>
sealed class ReferencePaging(byte[] memory)
{
    const ulong Present = 1 << 0, Writable = 1 << 1, User = 1 << 2, Accessed = 1 << 5, Dirty = 1 << 6, PageSize = 1 << 7;

    public required PagingMode Mode { get; init; }
    public ulong Cr0 { get; set; }
    public ulong Cr3 { get; set; }
    public ulong Cr4 { get; set; }
    public bool HasNoExecute { get; set; }

    /// <summary>The directory pointers of PAE paging, as CR3 found them.</summary>
    public ulong[] Pointers { get; } = new ulong[4];

    bool IsSmep => (Cr4 & X86.Cr4.Smep) != 0;
    bool IsSmap => (Cr4 & X86.Cr4.Smap) != 0;

    /// <summary>An entry, where it lies, and the lowest bit of the linear address that it does not translate.</summary>
    readonly record struct Step(ulong Address, ulong Entry, int Shift);

    public void LoadCr3(ulong value)
    {
        Cr3 = value;
        for (int i = 0; i < 4; i++) Pointers[i] = Read((value & 0xFFFF_FFE0) + 8 * (ulong)i, 8);
    }

    /// <returns>The page fault's error code, or <see langword="null"/>.</returns>
    /// <param name="marks">Accessed and dirty flags are set.</param>
    public uint? Translate(ulong linear, Access access, bool marks, out ulong physical)
    {
        var steps = new List<Step>();
        uint? error = Walk(linear, access, steps);
        foreach (Step step in marks ? steps : [])
            Write(step.Address, EntryBytes, Read(step.Address, EntryBytes) | Accessed);
        physical = 0;
        if (error is not null) return error;
        Step last = steps[^1];
        if (marks && access.IsWrite) Write(last.Address, EntryBytes, Read(last.Address, EntryBytes) | Dirty);
        ulong offset = linear & Below(last.Shift);
        physical = Mode == PagingMode.TwoLevel && last.Shift == 22
            ? Bits(last.Entry, 22, 31) << 22 | Bits(last.Entry, 13, 20) << 32 | offset
            : Bits(last.Entry, last.Shift, 39) << last.Shift | offset;
        return null;
    }

    public ulong Read(ulong address, int bytes)
    {
        ulong value = 0;
        for (int i = bytes - 1; i >= 0; i--)
            value = value << 8 | (address + (ulong)i < (ulong)memory.Length ? memory[address + (ulong)i] : (byte)0xFF);
        return value;
    }

    public void Write(ulong address, int bytes, ulong value)
    {
        for (int i = 0; i < bytes; i++)
            if (address + (ulong)i < (ulong)memory.Length) memory[address + (ulong)i] = (byte)(value >> 8 * i);
    }

    int EntryBytes => Mode == PagingMode.TwoLevel ? 4 : 8;

    /// <summary>Follows entries, and notes those that were used.</summary>
    uint? Walk(ulong linear, Access access, List<Step> steps)
    {
        ulong table = Mode == PagingMode.TwoLevel ? Bits(Cr3, 12, 31) << 12 : Bits(Cr3, 12, 39) << 12;
        int[] shifts = Mode == PagingMode.FourLevel ? [39, 30, 21, 12] : Mode == PagingMode.Pae ? [21, 12] : [22, 12];
        if (Mode == PagingMode.Pae)
        {
            ulong pointer = Pointers[Bits(linear, 30, 31)];
            if ((pointer & Present) == 0) return Code(access, 0);
            table = Bits(pointer, 12, 39) << 12;
        }
        bool isWritable = true, isUser = true, isExecutable = true;
        foreach (int shift in shifts)
        {
            ulong index = Bits(linear, shift, shift + (EntryBytes == 4 ? 9 : 8));
            ulong address = table + index * (ulong)EntryBytes, entry = Read(address, EntryBytes);
            if ((entry & Present) == 0) return Code(access, 0);
            if ((entry & Reserved(entry, shift)) != 0) return Code(access, 1 | 8);
            isWritable &= (entry & Writable) != 0;
            isUser &= (entry & User) != 0;
            isExecutable &= !HasNoExecute || Bits(entry, 63, 63) == 0;
            bool isPage = shift == 12 || IsLarge(entry, shift);
            if (isPage && !IsAllowed(access, isWritable, isUser, isExecutable)) return Code(access, 1);
            steps.Add(new Step(address, entry, shift));
            if (isPage) return null;
            table = Bits(entry, 12, 39) << 12;
        }
        throw new InvalidOperationException("The last entry maps a page.");
    }

    bool IsLarge(ulong entry, int shift) => (entry & PageSize) != 0
        && (shift is 30 or 21 || shift == 22 && (Cr4 & X86.Cr4.PageSizeExtensions) != 0);

    ulong Reserved(ulong entry, int shift)
    {
        bool isLarge = IsLarge(entry, shift);
        if (Mode == PagingMode.TwoLevel) return isLarge ? Range(21, 21) : 0;
        ulong reserved = Mode == PagingMode.Pae ? Range(40, 62) : Range(40, 51);
        if (!HasNoExecute) reserved |= Range(63, 63);
        if (shift == 39) reserved |= PageSize;
        if (isLarge) reserved |= Range(13, shift - 1);
        return reserved;
    }

    // §4.6.1, one sentence a line.
    bool IsAllowed(Access access, bool isWritable, bool isUserPage, bool isExecutable) => access switch
    {
        { IsUser: true } when !isUserPage => false,
        { IsUser: true, IsFetch: true } => isExecutable,
        { IsUser: true, IsWrite: true } => isWritable,
        { IsUser: true } => true,
        { IsFetch: true } when isUserPage => isExecutable && !IsSmep,
        { IsFetch: true } => isExecutable,
        _ when isUserPage && IsSmap && !access.IsOpen => false,
        { IsWrite: true } => isWritable || (Cr0 & X86.Cr0.WriteProtect) == 0,
        _ => true,
    };

    // §4.7, figure 4-12.
    uint Code(Access access, uint cause)
    {
        bool tellsFetch = access.IsFetch && (IsSmep || HasNoExecute && Mode != PagingMode.TwoLevel);
        return cause | (access.IsWrite ? 2U : 0) | (access.IsUser ? 4U : 0) | (tellsFetch ? 16U : 0);
    }

    static ulong Below(int bit) => (1UL << bit) - 1;

    static ulong Range(int low, int high) => (high == 63 ? ulong.MaxValue : Below(high + 1)) & ~Below(low);

    static ulong Bits(ulong value, int low, int high) => (value & Range(low, high)) >> low;
}
