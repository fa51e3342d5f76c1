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
    public const int Supervisor = 0, SupervisorOpen = 1, User = 2, UserAligned = 3, Kinds = 4;

    const int MaxSpaces = 16, MaxIdleWrites = 64;
    const byte Unused = 0, Mixed = 255;
    const int LinearBits = 48;

    static readonly TlbEntry[] s_empty = [.. Enumerable.Range(0, Entries).Select(Empty)];

    readonly GuestMemory _memory;
    readonly TlbEntry*[] _banks = new TlbEntry*[MaxSpaces * Kinds];
    readonly ulong*[] _pages = new ulong*[MaxSpaces * Kinds];   // guest-physical page by entry
    readonly AddressSpace[] _spaces = new AddressSpace[MaxSpaces];
    readonly ulong[] _lastUse = new ulong[MaxSpaces];
    readonly ulong* _banksOfPage;       // by guest-physical page: which banks may point into it
    readonly TableUse* _tables;         // by guest-physical page
    ulong _uses;
    int _currentSpace, _currentBank;
    bool _isFreed;

    /// <summary>What a page serves as: a table at one place of one level.</summary>
    struct TableUse
    {
        /// <summary>The linear address that its first entry maps.</summary>
        public ulong LinearBase;
        public ulong Banks;

        /// <summary>Linear bytes that an entry maps, as a power of two; or unused, or of mixed use.</summary>
        public byte Shift;

        /// <summary>Number of its entries, as a power of two.</summary>
        public byte IndexBits;
        public byte IdleWrites;

        /// <summary>Linear bytes that the table maps, as a power of two.</summary>
        public readonly int Span => Shift + IndexBits;

        /// <summary>Bytes of an entry, as a power of two.</summary>
        public readonly int EntryShift => 12 - IndexBits;
    }

    public Tlb(GuestMemory memory)
    {
        _memory = memory;
        _banksOfPage = (ulong*)NativeMemory.AllocZeroed((nuint)memory.TopPage, sizeof(ulong));
        _tables = (TableUse*)NativeMemory.AllocZeroed((nuint)memory.TopPage, (nuint)sizeof(TableUse));
    }

    ~Tlb() => Free();

    /// <summary>Makes an address space the current one.</summary>
    public void Enter(in AddressSpace space)
    {
        int found = Array.IndexOf(_spaces, space);
        _currentSpace = found >= 0 ? found : Recycle(space);
        _lastUse[_currentSpace] = ++_uses;
    }

    /// <summary>The bank of the current address space for one kind of access.</summary>
    public TlbEntry* Select(int kind)
    {
        _currentBank = _currentSpace * Kinds + kind;
        if (_banks[_currentBank] == null) AllocateBank(_currentBank);
        return _banks[_currentBank];
    }

    /// <summary>
    /// Notes that the current bank's coming entry for a linear address was walked through this table page. A page serves one
    /// place of one level at a time: what came of it in another place is dropped.
    /// </summary>
    /// <param name="shift">Linear bytes that one of its entries maps, as a power of two.</param>
    /// <param name="indexBits">Number of its entries, as a power of two.</param>
    /// <param name="isRepeated">The same walk came through the page before, at another level.</param>
    public void NoteTable(ulong page, int shift, int indexBits, ulong linear, bool isRepeated)
    {
        TableUse* use = _tables + page;
        int span = shift + indexBits;
        ulong linearBase = span >= LinearBits ? 0 : (linear & (1UL << LinearBits) - 1) >> span << span;
        if (isRepeated) (shift, linearBase) = (Mixed, 0);
        if (use->Shift != shift || use->LinearBase != linearBase || use->IndexBits != indexBits)
        {
            if (use->Shift == Unused) _memory.Protect(page, PageFlags.Table);
            else DropAll(use);
            *use = new TableUse { Shift = (byte)shift, IndexBits = (byte)indexBits, LinearBase = linearBase };
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
        entry->Read = read ? tag : none;
        entry->Write = write && (_memory.FlagsOf(page) & PageFlags.SlowStore) == 0 ? tag : none;
        entry->Execute = execute ? tag : none;
        entry->Page = _memory.Cache(page);
        _pages[_currentBank][index] = page;
        _banksOfPage[page] |= 1UL << _currentBank;
        return entry;
    }

    public void Flush()
    {
        for (int bank = 0; bank < _banks.Length; bank++) Clear(bank);
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
        if (use->Shift == Unused) return;
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
        if (use->Shift == Unused) return;
        bool anyDropped = false;
        byte* table = _memory.ReadPointer(page);
        for (int i = offset >> use->EntryShift; i <= offset + length - 1 >> use->EntryShift; i++)
        {
            if ((table[i << use->EntryShift] & 1) == 0) continue;   // an absent entry has no descendants
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
    /// <param name="codeLinear">Linear address of any byte of the code's page.</param>
    public bool MayDropCode(ulong page, int offset, int length, ulong codeLinear)
    {
        TableUse* use = _tables + page;
        if (use->Shift == Unused) return false;
        if (use->Shift == Mixed || use->IdleWrites == MaxIdleWrites) return true;
        for (int i = offset >> use->EntryShift; i <= offset + length - 1 >> use->EntryShift; i++)
            if ((FirstOf(use, i) ^ codeLinear) >> use->Shift == 0) return true;
        return false;
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    static ulong Invalid(int index) => (ulong)(index ^ 1) << 12;
    static TlbEntry Empty(int index) => new() { Read = Invalid(index), Write = Invalid(index), Execute = Invalid(index) };
    static ulong SignExtend(ulong linear) => (ulong)((long)(linear << 16) >> 16);

    /// <summary>The first linear address that an entry of a table maps.</summary>
    static ulong FirstOf(TableUse* use, int entry) => SignExtend(use->LinearBase + ((ulong)entry << use->Shift));

    /// <summary>Drops what was walked through one entry of a table.</summary>
    bool Drop(TableUse* use, int entry)
    {
        if (use->Shift != Mixed) return DropRange(use->Banks, FirstOf(use, entry), use->Shift);
        DropAll(use);
        return true;
    }

    /// <summary>Drops all that was walked through a table.</summary>
    void DropAll(TableUse* use)
    {
        if (use->Shift != Mixed && use->Span < LinearBits)
        {
            DropRange(use->Banks, FirstOf(use, 0), use->Span);
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

    int Recycle(in AddressSpace space)
    {
        int oldest = 0;
        for (int other = 1; other < MaxSpaces; other++)
            if (_lastUse[other] < _lastUse[oldest]) oldest = other;
        for (int kind = 0; kind < Kinds; kind++) Clear(oldest * Kinds + kind);
        _spaces[oldest] = space;
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
