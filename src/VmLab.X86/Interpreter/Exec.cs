using System.Runtime.CompilerServices;

namespace VmLab.X86;

/// <summary>A block's key: host address of its first byte, with the mode in the top byte.</summary>
static class CodeKey
{
    public const int Shift = 56;
    public const ulong Long = (ulong)CodeMode.Code64 << Shift, Single = (ulong)CodeMode.Single << Shift;
    public const int CacheBits = 16;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Slot(ulong key) => (int)(key * 0x9E3779B97F4A7C15 >> 64 - CacheBits);
}

/// <summary>What handlers share: memory, leaving a block, entering the next.</summary>
static unsafe class Exec
{
    /// <summary>Bytes of memory to read.</summary>
    /// <returns>
    /// <see langword="null"/> when the access faults or must leave the block: return <see cref="Abandon"/>.
    /// </returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Readable(CpuState* s, Op* op, ulong linear, int bytes)
    {
        TlbEntry* entry = s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        return (entry->Read ^ linear) <= (ulong)(4096 - bytes)
            ? entry->At(linear)
            : Vcpu.Of(s).ReadSlow(op, linear, bytes);
    }

    /// <summary>
    /// Bytes of memory to read and then write at once. When done with them, return <see cref="Finish"/>.
    /// </summary>
    /// <inheritdoc cref="Readable"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Modifiable(CpuState* s, Op* op, ulong linear, int bytes)
    {
        TlbEntry* entry = s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        return (entry->Write ^ linear) <= (ulong)(4096 - bytes)
            ? entry->At(linear)
            : Vcpu.Of(s).WriteSlow(op, linear, bytes, isRead: true);
    }

    /// <summary>Bytes of memory to write, every one of them; what they were is undefined. When done with them, return <see cref="Finish"/>.</summary>
    /// <inheritdoc cref="Readable"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Writable(CpuState* s, Op* op, ulong linear, int bytes)
    {
        TlbEntry* entry = s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        return (entry->Write ^ linear) <= (ulong)(4096 - bytes)
            ? entry->At(linear)
            : Vcpu.Of(s).WriteSlow(op, linear, bytes, isRead: false);
    }

    /// <summary>Ends an instruction whose last act was a store.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Finish(CpuState* s, Op* op)
    {
        if (s->IsStorePending != 0) Vcpu.Of(s).CommitStore();
        return op + 1;
    }

    /// <summary>Stores a value, as the instruction's last act.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Store<W>(CpuState* s, Op* op, ulong linear, ulong value)
        where W : IWidth
    {
        TlbEntry* entry = s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        if ((entry->Write ^ linear) > (ulong)(4096 - W.Bytes)) return StoreSlow(s, op, linear, value, W.Bytes);
        W.Write(entry->At(linear), value);
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static Op* StoreSlow(CpuState* s, Op* op, ulong linear, ulong value, int bytes)
    {
        byte* target = Vcpu.Of(s).WriteSlow(op, linear, bytes, isRead: false);
        if (target == null) return Abandon(s, op);
        switch (bytes)
        {
            case 1: *target = (byte)value; break;
            case 2: *(ushort*)target = (ushort)value; break;
            case 4: *(uint*)target = (uint)value; break;
            default: *(ulong*)target = value; break;
        }
        return Finish(s, op);
    }

    /// <summary>Leaves the block before this instruction has done anything: it faulted, or must run alone.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static Op* Abandon(CpuState* s, Op* op)
    {
        s->Rip += op->Offset;
        s->Budget += op->After + 1;
        return null;
    }

    /// <summary>Leaves the block after this instruction, with RIP behind it.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static Op* LeaveAfter(CpuState* s, Op* op, Leave reason)
    {
        ulong next = NextRip(s, op);
        s->Rip = (s->ModeKey & CodeKey.Long) != 0 ? next : (uint)next;
        s->Budget += op->After;
        s->Leave = reason;
        return null;
    }

    /// <summary>As <see cref="LeaveAfter"/>, for an instruction that has set RIP itself.</summary>
    public static Op* LeaveAt(CpuState* s, Op* op, ulong rip, Leave reason)
    {
        s->Rip = rip;
        s->Budget += op->After;
        s->Leave = reason;
        return null;
    }

    public static Op* Raise(CpuState* s, Op* op, byte vector)
    {
        Vcpu.Of(s).SetFault(new CpuException(vector));
        return Abandon(s, op);
    }

    public static Op* Raise(CpuState* s, Op* op, CpuException exception)
    {
        Vcpu.Of(s).SetFault(exception);
        return Abandon(s, op);
    }

    public static Op* RaiseGeneralProtection(CpuState* s, Op* op) => Raise(s, op, CpuException.GeneralProtection(0));

    /// <summary>RIP of an op's instruction.</summary>
    public static ulong RipOf(CpuState* s, Op* op) => s->Rip + op->Offset;

    /// <summary>RIP behind an op's instruction.</summary>
    public static ulong NextRip(CpuState* s, Op* op) => s->Rip + op->Offset + op->Length;

    /// <summary>Machine time before an op's instruction, in nanoseconds.</summary>
    public static ulong Now(CpuState* s, Op* op) => s->Deadline - (ulong)(s->Budget + s->Held + op->After + 1);

    /// <summary>Goes on at a target in the same page, through the op's link.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Follow(CpuState* s, Op* op)
    {
        s->Rip += op->Immediate;
        Block* next = op->Link;
        if (next != null && s->Budget >= next->Count)
        {
            s->Budget -= next->Count;
            return Block.Ops(next);
        }
        s->Leave = Leave.Link;
        s->Left = op;
        return null;
    }

    /// <summary>Goes on at a fixed target in another page; the op's link spares the search while the target is mapped there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* GotoLinked(CpuState* s, Op* op, ulong rip)
    {
        if (TryFindCode(s, rip, out ulong key)) return Enter(s, op, rip, key);
        s->Rip = rip;
        s->Leave = Leave.Next;
        return null;
    }

    /// <summary>The key of the block at a target that the TLB allows to execute.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryFindCode(CpuState* s, ulong rip, out ulong key)
    {
        ulong linear = rip + s->SegmentBases[Segment.Cs];
        TlbEntry* entry = s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        key = (ulong)entry->At(linear) | s->ModeKey;
        return (entry->Execute ^ linear) < 4096;
    }

    /// <summary>Goes on at the block of a key: through the op's link, or by a search.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Enter(CpuState* s, Op* op, ulong rip, ulong key)
    {
        s->Rip = rip;
        Block* block = op->Link;
        if (block == null || block->Key != key)
        {
            BlockSlot* slot = s->BlockCache + CodeKey.Slot(key);
            block = slot->Key == key ? slot->Block : null;
            op->Link = block;
        }
        if (block != null && s->Budget >= block->Count)
        {
            s->Budget -= block->Count;
            return Block.Ops(block);
        }
        s->Leave = Leave.Next;
        return null;
    }

    /// <summary>Goes on anywhere.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Goto(CpuState* s, ulong rip)
    {
        s->Rip = rip;
        ulong linear = rip + s->SegmentBases[Segment.Cs];
        TlbEntry* entry = s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        if ((entry->Execute ^ linear) < 4096)
        {
            ulong key = (ulong)entry->At(linear) | s->ModeKey;
            BlockSlot* slot = s->BlockCache + CodeKey.Slot(key);
            if (slot->Key == key && s->Budget >= slot->Block->Count)
            {
                s->Budget -= slot->Block->Count;
                return Block.Ops(slot->Block);
            }
        }
        s->Leave = Leave.Next;
        return null;
    }
}
