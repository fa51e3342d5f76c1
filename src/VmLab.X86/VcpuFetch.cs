using VmLab.Core;

namespace VmLab.X86;

// Finding the block at RIP: from the cache, or by decoding.
public sealed unsafe partial class Vcpu
{
    const int LongestInstruction = 15, MaxCrossingBlocks = 4096;

    readonly BlockBuilder _builder;
    readonly Dictionary<ulong, Crossing> _crossings = [];

    /// <summary>An instruction that crosses into another page, and the bytes it was decoded from.</summary>
    readonly record struct Crossing(nint Block, UInt128 Bytes);

    /// <summary>Linear address of the instruction, or of the block, that RIP names.</summary>
    ulong CodeLinear
    {
        get
        {
            ulong linear = _s->Rip + _s->SegmentBases[Segment.Cs];
            return (_s->ModeKey & CodeKey.Long) != 0 ? linear : (uint)linear;
        }
    }

    /// <param name="extraMode">0, or <see cref="CodeKey.Single"/>.</param>
    /// <returns><see langword="null"/> when the fetch faulted; the state names the fault.</returns>
    Block* FindBlock(ulong extraMode)
    {
        if (_s->HasCodeLimit != 0 && !IsInCode(0)) return null;
        ulong linear = CodeLinear;
        TlbEntry* entry = _s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        if ((entry->Execute ^ linear) >= 4096)
        {
            if (!TryFetch(linear, out ulong physical)) return null;
            if (!_ram.IsRam(physical >> 12)) return DecodeOutsideRam(physical, extraMode);
            entry = _s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        }
        ulong key = (ulong)entry->At(linear) | _s->ModeKey | extraMode;
        Block* block = _code.Find(key);
        if (block != null) return block;
        bool isKnown = _crossings.TryGetValue(key, out Crossing crossing) && IsAsDecoded(linear, crossing.Bytes);
        return isKnown ? (Block*)crossing.Block : Decode(linear, key);
    }

    /// <summary>Whether an instruction in two pages, both in the TLB, still has the bytes that it was decoded from.</summary>
    bool IsAsDecoded(ulong linear, UInt128 decoded)
    {
        int inFirst = BytesInPage(linear, LongestInstruction);
        ulong rest = Behind(linear, inFirst);
        TlbEntry* first = _s->Tlb + ((linear >> 12) & Tlb.IndexMask), second = _s->Tlb + ((rest >> 12) & Tlb.IndexMask);
        if ((second->Execute ^ rest) >= 4096) return false;
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        new ReadOnlySpan<byte>(first->At(linear), inFirst).CopyTo(bytes);
        new ReadOnlySpan<byte>(second->At(rest), LongestInstruction - inFirst).CopyTo(bytes[inFirst..]);
        return BitConverter.ToUInt128(bytes) == decoded;
    }

    bool TryFetch(ulong linear, out ulong physical)
    {
        physical = 0;
        if ((_s->ModeKey & CodeKey.Long) != 0 && !IsCanonical(linear)) return FailWith(CpuException.GeneralProtection(0));
        return Translate(linear, new Access(false, true, _s->Cpl == 3, false), out physical);
    }

    /// <summary>Whether a byte so far behind RIP lies in the code segment; #GP(0) is set if not.</summary>
    bool IsInCode(int offset) =>
        _s->Rip + (ulong)offset <= _s->SegmentLimits[Segment.Cs] || FailWith(CpuException.GeneralProtection(0));

    Block* Decode(ulong linear, ulong key)
    {
        if (!TryFetch(linear, out ulong physical)) return null;
        MakeRoom();
        ulong page = physical >> 12;
        int offset = (int)(physical & 0xFFF);
        var bytes = new ReadOnlySpan<byte>(_ram.ReadPointer(page) + offset, GuestMemory.PageSize - offset);
        if (!_builder.Build(bytes, offset, key, mayLink: true)) return DecodeCrossing(linear, physical, key);
        Block* block = _code.Add(page, _builder.Header, _builder.Ops, _builder.OpCount);
        _ram.Protect(page, PageFlags.Code);
        return block;
    }

    /// <summary>Empties the arena of decoded code when it is full.</summary>
    void MakeRoom()
    {
        if (_code.IsFull || _translator is { IsFull: true }) DropCode();
    }

    void DropCode()
    {
        _flushes++;
        _code.Flush();
        _translator?.Flush();
        _crossings.Clear();
        foreach (ulong stale in _code.TakeProtectedPages()) _ram.Unprotect(stale, PageFlags.Code);
    }

    /// <summary>
    /// Decodes an instruction that lies in two pages; what it was decoded from is compared at every visit.
    /// </summary>
    Block* DecodeCrossing(ulong linear, ulong physical, ulong key)
    {
        int inFirst = GuestMemory.PageSize - (int)(physical & 0xFFF);
        if (_s->HasCodeLimit != 0 && !IsInCode(inFirst)) return null;
        if (!TryFetch(Behind(linear, inFirst), out ulong second)) return null;
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        _ram.Read(physical, bytes[..inFirst]);
        _ram.Read(second, bytes[inFirst..LongestInstruction]);
        return FindCrossing(key, bytes, (int)(physical & 0xFFF));
    }

    /// <summary>
    /// Decodes an instruction that lies in a device's range or nowhere: unclaimed addresses read as ones.
    /// </summary>
    Block* DecodeOutsideRam(ulong physical, ulong extraMode)
    {
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        PublishBetween(countsTaken: 0);
        for (int i = 0; i < LongestInstruction; i++) bytes[i] = (byte)_board.Memory.Read(physical + (ulong)i, 1);
        return FindCrossing(physical | _s->ModeKey | extraMode, bytes, (int)(physical & 0xFFF));
    }

    Block* FindCrossing(ulong key, Span<byte> bytes, int offset)
    {
        var identity = BitConverter.ToUInt128(bytes);
        if (_crossings.TryGetValue(key, out Crossing known) && known.Bytes == identity) return (Block*)known.Block;
        MakeRoom();
        if (_crossings.Count >= MaxCrossingBlocks) _crossings.Clear();
        ulong alone = key | CodeKey.Single;
        if (!_builder.Build(bytes[..LongestInstruction], offset, alone, mayLink: false))
        {
            SetFault(CpuException.GeneralProtection(0));   // longer than 15 bytes
            return null;
        }
        Block* block = _code.Allocate(_builder.Header, _builder.Ops, _builder.OpCount);
        _crossings[key] = new Crossing((nint)block, identity);
        return block;
    }
}
