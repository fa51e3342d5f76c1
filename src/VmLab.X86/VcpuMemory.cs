using VmLab.Core;

namespace VmLab.X86;

// The slow paths of memory: walks, page crossings, devices, code and page tables that are written to.
public sealed unsafe partial class Vcpu
{
    /// <inheritdoc cref="Exec.Readable"/>
    internal byte* ReadSlow(Op* op, ulong linear, int bytes)
    {
        if (!TryAddress(op, ref linear, bytes, isWrite: false)) return null;
        TlbEntry* entry = _s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        if ((entry->Read ^ linear) <= (ulong)(4096 - bytes)) return entry->At(linear);   // a claim, settled
        int inFirst = BytesInPage(linear, bytes);
        if (!Translate(linear, DataAccess(isWrite: false), out ulong first)) return null;
        if (inFirst == bytes)
        {
            if (!MayTouch(linear, bytes, first, inFirst, 0, MemoryAccess.Read)) return null;
            if (_ram.IsRam(first >> 12)) return _ram.ReadPointer(first >> 12) + (first & 0xFFF);
            if (!MayTouchDevice()) return null;
            Publish(op);
            ReadPhysical(first, Scratch(bytes));
            return (byte*)_s->Scratch;
        }
        if (!Translate(Behind(linear, inFirst), DataAccess(isWrite: false), out ulong second)) return null;
        if (!MayTouch(linear, bytes, first, inFirst, second, MemoryAccess.Read)) return null;
        if (!_ram.IsRam(first >> 12) || !_ram.IsRam(second >> 12))
        {
            if (!MayTouchDevice()) return null;
            Publish(op);
        }
        ReadPhysical(first, Scratch(bytes)[..inFirst]);
        ReadPhysical(second, Scratch(bytes)[inFirst..]);
        return (byte*)_s->Scratch;
    }

    /// <inheritdoc cref="Exec.Modifiable"/>
    /// <param name="isRead">The instruction reads the bytes before it writes them: a device is asked for them.</param>
    internal byte* WriteSlow(Op* op, ulong linear, int bytes, bool isRead)
    {
        if (!TryAddress(op, ref linear, bytes, isWrite: true)) return null;
        TlbEntry* entry = _s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        if ((entry->Write ^ linear) <= (ulong)(4096 - bytes)) return entry->At(linear);   // a claim, settled
        int inFirst = BytesInPage(linear, bytes);
        if (!Translate(linear, DataAccess(isWrite: true), out ulong first)) return null;
        ulong second = 0;
        if (inFirst < bytes && !Translate(Behind(linear, inFirst), DataAccess(isWrite: true), out second)) return null;

        bool isPlain = inFirst == bytes && _ram.IsRam(first >> 12);
        bool mustBeAlone = MustBeAlone(first, inFirst) || inFirst < bytes && MustBeAlone(second, bytes - inFirst);
        if (mustBeAlone && !MayTouchDevice()) return null;
        if (!MayTouch(linear, bytes, first, inFirst, second, isRead ? MemoryAccess.Any : MemoryAccess.Write)) return null;
        if (isPlain)
        {
            byte* page = _ram.BeginWrite(first >> 12, (int)(first & 0xFFF), bytes);
            FillIfPlain(linear, first);
            return page + (first & 0xFFF);
        }
        if (!_ram.IsRam(first >> 12) || inFirst < bytes && !_ram.IsRam(second >> 12)) Publish(op);
        if (isRead) ReadPhysical(first, Scratch(bytes)[..inFirst]);
        if (isRead && inFirst < bytes) ReadPhysical(second, Scratch(bytes)[inFirst..]);
        _s->IsStorePending = 1;
        _s->PendingAddress = first;
        _s->PendingSecond = second;
        _s->PendingLength = bytes;
        _s->PendingFirstLength = inFirst;
        return (byte*)_s->Scratch;
    }

    /// <summary>Carries out the store that waits in the scratch.</summary>
    internal void CommitStore()
    {
        _s->IsStorePending = 0;
        Span<byte> bytes = Scratch(_s->PendingLength);
        WritePhysical(_s->PendingAddress, bytes[.._s->PendingFirstLength]);
        if (_s->PendingFirstLength < bytes.Length) WritePhysical(_s->PendingSecond, bytes[_s->PendingFirstLength..]);
    }

    /// <summary>Whether an instruction can write the bytes now; a fault is set if not. Nothing is written.</summary>
    internal bool ProbeWrite(Op* op, ulong linear, int bytes) =>
        TryAddress(op, ref linear, bytes, isWrite: true) && MayWrite(linear, bytes);

    /// <summary>Whether bytes at a linear address can be written now; a fault is set if not.</summary>
    bool MayWrite(ulong linear, int bytes)
    {
        TlbEntry* entry = _s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        if ((entry->Write ^ linear) <= (ulong)(4096 - bytes)) return true;
        int inFirst = BytesInPage(linear, bytes);
        return Translate(linear, DataAccess(isWrite: true), out _)
            && (inFirst == bytes || Translate(Behind(linear, inFirst), DataAccess(isWrite: true), out _));
    }

    /// <summary>Writes up to eight bytes that <see cref="MayWrite"/> allowed.</summary>
    /// <param name="op">What writes, or <see langword="null"/> for a delivery between instructions.</param>
    void WriteAllowed(Op* op, ulong linear, int bytes, ulong value)
    {
        Span<byte> buffer = stackalloc byte[8];
        BitConverter.TryWriteBytes(buffer, value);
        TlbEntry* entry = _s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        if ((entry->Write ^ linear) <= (ulong)(4096 - bytes))
        {
            buffer[..bytes].CopyTo(new Span<byte>(entry->At(linear), bytes));
            return;
        }
        int inFirst = BytesInPage(linear, bytes);
        Translate(linear, DataAccess(isWrite: true), out ulong first);
        ulong second = 0;
        if (inFirst < bytes) Translate(Behind(linear, inFirst), DataAccess(isWrite: true), out second);
        NoteDelivery(linear, bytes, first, inFirst, second);
        WriteDelivered(op, first, buffer[..inFirst]);
        if (inFirst < bytes) WriteDelivered(op, second, buffer[inFirst..bytes]);
    }

    void WriteDelivered(Op* op, ulong physical, ReadOnlySpan<byte> bytes)
    {
        if (!_ram.IsRam(physical >> 12))
        {
            if (op != null) Publish(op);
            else PublishBetween(countsTaken: 1);   // the delivery's own
        }
        WritePhysical(physical, bytes);
    }

    /// <summary>
    /// Reads on the processor's own behalf, with the supervisor's rights: descriptor tables, task state. Outside RAM they read
    /// as ones.
    /// </summary>
    internal bool TryReadSystem(ulong linear, int bytes, out ulong value)
    {
        value = 0;
        Span<byte> buffer = stackalloc byte[8];
        int inFirst = BytesInPage(linear, bytes);
        ulong second = 0;
        if (!TranslateSystem(linear, isWrite: false, out ulong first)) return false;
        if (inFirst < bytes && !TranslateSystem(linear + (ulong)inFirst, isWrite: false, out second)) return false;
        _ram.Read(first, buffer[..inFirst]);
        _ram.Read(second, buffer[inFirst..bytes]);
        value = BitConverter.ToUInt64(buffer);
        return true;
    }

    /// <summary>As <see cref="TryReadSystem"/>: the marks in descriptors, and what a task saves.</summary>
    internal bool TryWriteSystem(ulong linear, int bytes, ulong value)
    {
        Span<byte> buffer = stackalloc byte[8];
        BitConverter.TryWriteBytes(buffer, value);
        int inFirst = BytesInPage(linear, bytes);
        ulong second = 0;
        if (!TranslateSystem(linear, isWrite: true, out ulong first)) return false;
        if (inFirst < bytes && !TranslateSystem(linear + (ulong)inFirst, isWrite: true, out second)) return false;
        _ram.Write(first, buffer[..inFirst]);
        _ram.Write(second, buffer[inFirst..bytes]);
        return true;
    }

    /// <summary>Translates for one access, and fills the TLB when the page is RAM.</summary>
    bool Translate(ulong linear, Access access, out ulong physical)
    {
        physical = 0;
        if (_walker.Walk(_s, linear, access, out Translation found) is { } fault)
        {
            SetFault(fault);
            return false;
        }
        physical = found.Physical | linear & 0xFFF;
        if (_ram.IsRam(physical >> 12)) Fill(linear, found);
        return true;
    }

    /// <summary>
    /// Translates for an access that the processor makes implicitly: a supervisor's whatever the privilege level, and
    /// SMAP holds whatever RFLAGS.AC. Source: Intel SDM vol. 3A §4.6.1.
    /// </summary>
    bool TranslateSystem(ulong linear, bool isWrite, out ulong physical)
    {
        physical = 0;
        if (!_s->IsLongMode) linear = (uint)linear;
        if (!IsCanonical(linear)) return FailWith(CpuException.GeneralProtection(0));
        _s->Tlb = _tlb.Select(Tlb.Supervisor);
        CpuException? fault = _walker.Walk(_s, linear, new Access(isWrite, false, false, false), out Translation found);
        SelectBank();
        physical = found.Physical | linear & 0xFFF;
        return fault is null || FailWith(fault.Value);
    }

    TlbEntry* Fill(ulong linear, Translation found)
    {
        Count(ExitReason.TlbRefill);
        bool isUser = _s->Cpl == 3;
        bool isOpen = (_s->Cr4 & Cr4.Smap) == 0 || (_s->SystemFlags & Rflags.AlignmentCheck) != 0;
        bool mayRead = isUser ? found.IsUser : !found.IsUser || isOpen;
        bool read = mayRead && !ChecksAlignment;   // checked code takes the slow path to all data
        bool write = read && found.IsDirty && (found.IsWritable || !isUser && (_s->Cr0 & Cr0.WriteProtect) == 0);
        bool execute = found.IsExecutable && (isUser ? found.IsUser : !found.IsUser || (_s->Cr4 & Cr4.Smep) == 0);
        if (_ranges.Length > 0) Deny(linear, found.Physical, ref read, ref write);
        return _tlb.Fill(linear, found.Physical >> 12, read, write, execute);
    }

    /// <summary>After a store has cleared what stood in the way, later ones may be fast.</summary>
    void FillIfPlain(ulong linear, ulong physical)
    {
        if ((_ram.FlagsOf(physical >> 12) & PageFlags.SlowStore) == 0) Translate(linear, DataAccess(isWrite: true), out _);
    }

    bool MustBeAlone(ulong physical, int bytes)
    {
        ulong page = physical >> 12;
        if (!_ram.IsRam(page)) return true;
        PageFlags flags = _ram.FlagsOf(page);
        int offset = (int)(physical & 0xFFF);
        bool isCode = (flags & PageFlags.Code) != 0;
        return isCode && ((flags & PageFlags.Shared) != 0 || _code.Overlaps(page, offset, bytes))
            || (flags & PageFlags.Table) != 0 && _tlb.MayDropCode(page, offset, bytes, CodeLinear);
    }

    /// <summary>Whether this instruction runs alone; if not, it will be run again so.</summary>
    internal bool MayTouchDevice()
    {
        if (_s->IsSingle != 0) return true;
        _s->Leave = Leave.Alone;
        return false;
    }

    void ReadPhysical(ulong physical, Span<byte> bytes)
    {
        if (_ram.IsRam(physical >> 12)) _ram.Read(physical, bytes);
        else if (bytes.Length is 1 or 2 or 4 or 8)
        {
            Count(ExitReason.MmioRead);
            ulong value = _board.Memory.Read(physical, bytes.Length);
            for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)(value >> 8 * i);
        }
        else
        {
            int half = bytes.Length > 8 ? 8 : bytes.Length > 4 ? 4 : bytes.Length / 2;
            ReadPhysical(physical, bytes[..half]);
            ReadPhysical(physical + (ulong)half, bytes[half..]);
        }
    }

    void WritePhysical(ulong physical, ReadOnlySpan<byte> bytes)
    {
        if (_ram.IsRam(physical >> 12)) _ram.Write(physical, bytes);
        else if (bytes.Length is 1 or 2 or 4 or 8)
        {
            Count(ExitReason.MmioWrite);
            ulong value = 0;
            for (int i = 0; i < bytes.Length; i++) value |= (ulong)bytes[i] << 8 * i;
            _board.Memory.Write(physical, bytes.Length, value);
        }
        else
        {
            int half = bytes.Length > 8 ? 8 : bytes.Length > 4 ? 4 : bytes.Length / 2;
            WritePhysical(physical, bytes[..half]);
            WritePhysical(physical + (ulong)half, bytes[half..]);
        }
    }

    Access DataAccess(bool isWrite) =>
        new(isWrite, false, _s->Cpl == 3, (_s->SystemFlags & Rflags.AlignmentCheck) != 0);

    /// <summary>Settles a claim on a segment, or checks for the canonical form, and then the alignment; a fault is set if need be.</summary>
    bool TryAddress(Op* op, ref ulong linear, int bytes, bool isWrite)
    {
        if ((_s->ModeKey & CodeKey.Long) == 0 && Segmentation.IsClaim(linear))
        {
            int segment = Segmentation.SegmentOf(linear);
            linear = (uint)linear;
            var offset = (uint)(linear - _s->SegmentBases[segment]);
            if (!Segmentation.Allows(_s->SegmentRights[segment], _s->SegmentLimits[segment], offset, bytes, isWrite))
                return FailWith(segment == Segment.Ss ? CpuException.Stack(0) : CpuException.GeneralProtection(0));
        }
        else if (!IsCanonical(linear) || !IsCanonical(linear + (ulong)bytes - 1))
            return FailWith(op->IsStack ? CpuException.Stack(0) : CpuException.GeneralProtection(0));
        return !ChecksAlignment || (linear & AlignmentMask(op, bytes)) == 0 || FailWith(CpuException.Alignment);
    }

    /// <summary>User code asked for alignment checks. Source: Intel SDM vol. 3A §2.5, §6.15 (vector 17).</summary>
    bool ChecksAlignment =>
        _s->Cpl == 3 && (_s->Cr0 & Cr0.AlignmentMask) != 0 && (_s->SystemFlags & Rflags.AlignmentCheck) != 0;

    /// <summary>
    /// The low bits of an aligned operand's address, which are 0. Operands of 16 bytes that need no alignment of their own are held to 8,
    /// as the manual allows. Source: Intel SDM vol. 3A table 6-7.
    /// </summary>
    static ulong AlignmentMask(Op* op, int bytes) => op->Alignment != 0 ? op->Alignment - 1UL : bytes switch
    {
        1 or 512 => 0,
        2 or 14 or 94 => 1,         // FSTENV and FSAVE with 16-bit operands
        4 or 6 or 28 or 108 => 3,   // far pointers and tables; FSTENV and FSAVE
        _ => 7,
    };

    /// <summary>The linear address of what lies so far behind, in the next page: it wraps at 4 GiB outside of 64-bit mode.</summary>
    ulong Behind(ulong linear, int bytes)
    {
        ulong next = linear + (ulong)bytes;
        return next == 1UL << 32 && (_s->ModeKey & CodeKey.Long) == 0 ? 0 : next;
    }

    Span<byte> Scratch(int bytes) => new(_s->Scratch, bytes);

    static int BytesInPage(ulong linear, int bytes) => Math.Min(bytes, 4096 - (int)(linear & 0xFFF));

    internal static bool IsCanonical(ulong linear) => (ulong)((long)(linear << 16) >> 16) == linear;

    void IMemoryObserver.OnProtected(ulong page) => _tlb.Protect(page);

    void IMemoryObserver.OnAllProtected() => _tlb.ProtectAll();

    void IMemoryObserver.OnReplacing(ulong page)
    {
        _tlb.DropTable(page);
        _tlb.DropPage(page);
        _code.DropPage(page);
    }

    void IMemoryObserver.OnMoved(ulong page)
    {
        _tlb.DropPage(page);
        _code.DropPage(page);
    }

    void IMemoryObserver.OnWriting(ulong page, int offset, int length, PageFlags flags)
    {
        if ((flags & PageFlags.Code) != 0 && _code.Overlaps(page, offset, length))
        {
            Count(ExitReason.CodeWrite);
            _code.DropPage(page);
            _ram.Unprotect(page, PageFlags.Code);
        }
        if ((flags & PageFlags.Table) != 0 && !_walker.IsMarking)
        {
            Count(ExitReason.PageTableWrite);
            _tlb.OnTableWrite(page, offset, length);
        }
    }
}
