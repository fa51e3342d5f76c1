using System.Numerics;
using System.Runtime.InteropServices;
using VmLab.Core;

namespace VmLab.X86;

/// <summary>
/// The software TLB of one vCPU: banks of direct-mapped entries, one bank for each address space and kind of access.
/// </summary>
/// <remarks>
/// It is invisible: an entry lives only while a fresh walk would give the same. Every page-table page that a live
/// entry was walked
/// through is protected, and a store to it drops what came of the old value. So INVLPG has nothing to do, and a load
/// of CR3 only
/// selects other banks.
/// </remarks>
sealed unsafe class Tlb : IDisposable
{
    public const int EntryBits = 10, Entries = 1 << EntryBits, IndexMask = Entries - 1;
    public const int Supervisor = 0, SupervisorOpen = 1, User = 2, Kinds = 3;

    const int MaxSpaces = 16, MaxIdleWrites = 64;
    const byte NoLevel = 0, RootLevel = 4, MixedLevel = 255;

    static readonly TlbEntry[] s_empty = [.. Enumerable.Range(0, Entries).Select(Empty)];

    readonly GuestMemory _memory;
    readonly TlbEntry*[] _banks = new TlbEntry*[MaxSpaces * Kinds];
    readonly ulong*[] _pages = new ulong*[MaxSpaces * Kinds];   // guest-physical page by entry
    readonly ulong[] _roots = new ulong[MaxSpaces];
    readonly ulong[] _lastUse = new ulong[MaxSpaces];
    readonly ulong* _banksOfPage;       // by guest-physical page: which banks may point into it
    readonly TableUse* _tables;         // by guest-physical page
    ulong _uses;
    int _currentBank;
    bool _isFreed;

    struct TableUse
    {
        public ulong LinearBase, Banks;
        public byte Level;
        public byte IdleWrites;
    }

    public Tlb(GuestMemory memory)
    {
        _memory = memory;
        _banksOfPage = (ulong*)NativeMemory.AllocZeroed((nuint)memory.TopPage, sizeof(ulong));
        _tables = (TableUse*)NativeMemory.AllocZeroed((nuint)memory.TopPage, (nuint)sizeof(TableUse));
        Array.Fill(_roots, ulong.MaxValue);
    }

    ~Tlb() => Free();


    /// <summary>
    /// The bank of an address space, named by the physical address of its root table, for one kind of access.
    /// </summary>
    public TlbEntry* Select(ulong root, int kind)
    {
        int space = 0;
        while (space < MaxSpaces && _roots[space] != root) space++;
        if (space == MaxSpaces) space = Recycle(root);
        _lastUse[space] = ++_uses;
        _currentBank = space * Kinds + kind;
        if (_banks[_currentBank] == null) AllocateBank(_currentBank);
        return _banks[_currentBank];
    }

    /// <summary>
    /// Notes that the current bank's coming entry for a linear address was walked through this table page. A page serves one
    /// place of one level at a time: what came of it in another place is dropped.
    /// </summary>
    /// <param name="level">4 for the root, 1 for the last.</param>
    /// <param name="isRepeated">The same walk came through the page before, at another level.</param>
    public void NoteTable(ulong page, int level, ulong linear, bool isRepeated)
    {
        TableUse* use = _tables + page;
        int shift = 12 + 9 * level;
        ulong linearBase = shift >= 48 ? 0 : linear >> shift << shift;
        if (isRepeated) (level, linearBase) = (MixedLevel, 0);
        if (use->Level != level || use->LinearBase != linearBase)
        {
            if (use->Level == NoLevel) _memory.Protect(page, PageFlags.Table);
            else DropAll(use);
            *use = new TableUse { Level = (byte)level, LinearBase = linearBase };
        }
        use->Banks |= 1UL << _currentBank;
        use->IdleWrites = 0;
    }

    /// <summary>Fills an entry of the current bank.</summary>
    public TlbEntry* Fill(ulong linear, ulong page, bool read, bool write, bool execute)
    {
        int index = (int)(linear >> 12) & IndexMask;
        ulong tag = linear & ~0xFFFUL, none = Invalid(index);
        TlbEntry* entry = _banks[_currentBank] + index;
        byte* host = _memory.Cache(page);
        entry->Read = read ? tag : none;
        entry->Write = write && (_memory.FlagsOf(page) & PageFlags.SlowStore) == 0 ? tag : none;
        entry->Execute = execute ? tag : none;
        entry->Delta = (long)host - (long)tag;
        _pages[_currentBank][index] = page;
        _banksOfPage[page] |= 1UL << _currentBank;
        return entry;
    }

    public void Flush()
    {
        for (int bank = 0; bank < _banks.Length; bank++) Clear(bank);
        Array.Fill(_roots, ulong.MaxValue);
    }

    /// <summary>Takes back every right to store to a page.</summary>
    public void Protect(ulong page) => ForEntriesOf(page, (entry, index) => entry->Write = Invalid(index));

    /// <summary>Takes back every right to store.</summary>
    public void ProtectAll()
    {
        foreach (TlbEntry* bank in _banks)
            for (int i = 0; bank != null && i < Entries; i++) bank[i].Write = Invalid(i);
    }

    /// <summary>Drops every entry that was walked through a page: it is about to become another.</summary>
    public void DropTable(ulong page)
    {
        TableUse* use = _tables + page;
        if (use->Level == NoLevel) return;
        DropAll(use);
        *use = default;
    }

    /// <summary>Drops every entry that points into a page.</summary>
    public void DropPage(ulong page)
    {
        ForEntriesOf(page, (entry, index) => *entry = Empty(index));
        _banksOfPage[page] = 0;
    }

    /// <summary>
    /// A store is about to change bytes of a page-table page: drops what was walked through the old entries.
    /// </summary>
    public void OnTableWrite(ulong page, int offset, int length)
    {
        TableUse* use = _tables + page;
        if (use->Level == NoLevel) return;
        bool anyDropped = false;
        ulong* entries = (ulong*)_memory.ReadPointer(page);
        for (int i = offset >> 3; i <= offset + length - 1 >> 3; i++)
        {
            if ((entries[i] & 1) == 0) continue;   // an absent entry has no descendants
            anyDropped |= Drop(use, i);
        }
        if (anyDropped) use->IdleWrites = 0;
        else if (++use->IdleWrites > MaxIdleWrites)   // a table no more, it seems: let stores to it be fast again
        {
            DropAll(use);
            *use = default;
            _memory.Unprotect(page, PageFlags.Table);
        }
    }

    /// <summary>Whether a store there could drop the mapping of the running code.</summary>
    public bool MayDropCode(ulong page, int offset, ulong codeLinear)
    {
        TableUse* use = _tables + page;
        if (use->Level is NoLevel) return false;
        if (use->Level == MixedLevel || use->IdleWrites == MaxIdleWrites) return true;
        int shift = 12 + 9 * (use->Level - 1);
        ulong linear = use->LinearBase + ((ulong)(offset >> 3) << shift);
        return (SignExtend(linear) ^ codeLinear) >> shift == 0;
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    static ulong Invalid(int index) => (ulong)(index ^ 1) << 12;
    static TlbEntry Empty(int index) => new() { Read = Invalid(index), Write = Invalid(index), Execute = Invalid(index) };
    static ulong SignExtend(ulong linear) => (ulong)((long)(linear << 16) >> 16);

    /// <summary>Drops what was walked through one entry of a table.</summary>
    bool Drop(TableUse* use, int entry)
    {
        if (use->Level == MixedLevel)
        {
            DropAll(use);
            return true;
        }
        int shift = 12 + 9 * (use->Level - 1);
        return DropRange(use->Banks, SignExtend(use->LinearBase + ((ulong)entry << shift)), shift);
    }

    /// <summary>Drops all that was walked through a table.</summary>
    void DropAll(TableUse* use)
    {
        if (use->Level != MixedLevel && use->Level != RootLevel)
        {
            DropRange(use->Banks, SignExtend(use->LinearBase), 12 + 9 * use->Level);
            return;
        }
        for (ulong banks = use->Banks; banks != 0; banks &= banks - 1) Clear(BitOperations.TrailingZeroCount(banks));
    }

    /// <summary>Drops the entries of some banks for an aligned range of linear addresses.</summary>
    /// <param name="shift">The range's length as a power of two, in bytes.</param>
    bool DropRange(ulong banks, ulong first, int shift)
    {
        bool any = false;
        int firstIndex = (int)(first >> 12) & IndexMask;
        int count = shift >= 12 + EntryBits ? Entries : 1 << shift - 12;
        for (; banks != 0; banks &= banks - 1)
        {
            TlbEntry* bank = _banks[BitOperations.TrailingZeroCount(banks)];
            if (bank == null) continue;
            for (int i = count == Entries ? 0 : firstIndex, end = i + count; i < end; i++)
            {
                TlbEntry* entry = bank + i;
                if ((entry->Read ^ first) >> shift != 0 && (entry->Write ^ first) >> shift != 0
                    && (entry->Execute ^ first) >> shift != 0) continue;
                any |= IsLive(entry, i);
                *entry = Empty(i);
            }
        }
        return any;
    }

    static bool IsLive(TlbEntry* entry, int index)
    {
        ulong none = Invalid(index);
        return entry->Read != none || entry->Write != none || entry->Execute != none;
    }

    delegate void EntryAction(TlbEntry* entry, int index);

    void ForEntriesOf(ulong page, EntryAction action)
    {
        for (ulong banks = _banksOfPage[page]; banks != 0; banks &= banks - 1)
        {
            int bank = BitOperations.TrailingZeroCount(banks);
            if (_banks[bank] == null) continue;
            var pages = new Span<ulong>(_pages[bank], Entries);
            for (int from = 0; pages[from..].IndexOf(page) is var found and >= 0; from += found + 1)
            {
                action(_banks[bank] + from + found, from + found);
                if (from + found + 1 == Entries) break;
            }
        }
    }

    int Recycle(ulong root)
    {
        int oldest = 0;
        for (int space = 1; space < MaxSpaces; space++)
            if (_lastUse[space] < _lastUse[oldest]) oldest = space;
        for (int kind = 0; kind < Kinds; kind++) Clear(oldest * Kinds + kind);
        _roots[oldest] = root;
        return oldest;
    }

    void AllocateBank(int bank)
    {
        _banks[bank] = (TlbEntry*)NativeMemory.AlignedAlloc((nuint)(Entries * sizeof(TlbEntry)), 64);
        _pages[bank] = (ulong*)NativeMemory.AlignedAlloc(Entries * sizeof(ulong), 64);
        Clear(bank);
    }

    void Clear(int bank)
    {
        if (_banks[bank] == null) return;
        s_empty.CopyTo(new Span<TlbEntry>(_banks[bank], Entries));
        new Span<ulong>(_pages[bank], Entries).Fill(ulong.MaxValue);
    }

    void Free()
    {
        if (_isFreed) return;   // a finalizer runs this after its owner's, or before
        _isFreed = true;
        for (int bank = 0; bank < _banks.Length; bank++)
        {
            NativeMemory.AlignedFree(_banks[bank]);
            NativeMemory.AlignedFree(_pages[bank]);
            _banks[bank] = null;
        }
        NativeMemory.Free(_banksOfPage);
        NativeMemory.Free(_tables);
    }
}
