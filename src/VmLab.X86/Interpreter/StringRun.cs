namespace VmLab.X86;

/// <summary>One visit to a string instruction: how far it may go, and where its pointers stand.</summary>
/// <remarks>
/// Registers are exact after every <see cref="Advance"/>, so that a fault or the budget may end the visit anywhere.
/// </remarks>
unsafe struct StringRun
{
    readonly bool _repeats;
    readonly ulong _mask;
    readonly int _bytes;
    ulong _left;      // iterations that RCX allows
    ulong _allowed;   // iterations that the budget allows
    ulong _done;

    public StringRun(CpuState* s, Op* op, int bytes, bool repeats)
    {
        _repeats = repeats;
        _bytes = bytes;
        _mask = op->Extra == 64 ? ulong.MaxValue : op->Extra == 32 ? uint.MaxValue : ushort.MaxValue;
        _left = repeats ? s->Gpr[Gpr.Rcx] & _mask : 1;
        _allowed = s->IsSingle != 0 ? 1 : (ulong)s->Budget + 1;   // one count is taken already; alone, each iteration is looked at
        Step = (s->SystemFlags & Rflags.Direction) != 0 ? -bytes : bytes;
    }

    /// <summary>Bytes that the pointers move by, negative when DF is set.</summary>
    public int Step { get; }

    public readonly bool HasNext => _left != 0 && _done < _allowed;

    public readonly ulong Source(CpuState* s, Op* op)
    {
        ulong offset = s->Gpr[Gpr.Rsi] & _mask;
        bool isLong = (s->ModeKey & CodeKey.Long) != 0;
        return isLong ? offset + s->SegmentBases[op->Segment] : Segmentation.Linear(s, op->Segment, (uint)offset);
    }

    public readonly ulong Target(CpuState* s, Op* op)
    {
        ulong offset = s->Gpr[Gpr.Rdi] & _mask;
        return (s->ModeKey & CodeKey.Long) != 0 ? offset : Segmentation.Linear(s, Segment.Es, (uint)offset);
    }

    /// <summary>Whole iterations, at least one, that neither pointer leaves its page in, going up.</summary>
    public readonly ulong InPage(ulong a, ulong b)
    {
        ulong bytes = 4096 - Math.Max(a & 0xFFF, b & 0xFFF);
        return Math.Max(1, Math.Min(bytes / (ulong)_bytes, Math.Min(_left, _allowed - _done)));
    }

    public void Advance(CpuState* s, Op* op, ulong count, bool movesSource, bool movesTarget)
    {
        ulong by = (ulong)Step * count;
        if (movesSource) Set(s->Gpr + Gpr.Rsi, s->Gpr[Gpr.Rsi] + by);
        if (movesTarget) Set(s->Gpr + Gpr.Rdi, s->Gpr[Gpr.Rdi] + by);
        if (_repeats) Set(s->Gpr + Gpr.Rcx, s->Gpr[Gpr.Rcx] - count);
        _left -= count;
        _done += count;
    }

    /// <summary>A device was touched, which must be looked at before the next iteration.</summary>
    public readonly bool MustLeave(CpuState* s) => s->IsSingle != 0;

    /// <summary>The visit is over: the instruction is done, or goes on at the next visit.</summary>
    public readonly Op* End(CpuState* s, Op* op)
    {
        if (_left == 0) return Finish(s, op);
        Charge(s);
        s->Budget += op->After;
        s->Rip += op->Offset;
        s->Leave = Leave.Next;
        s->RepeatedAt = s->Deadline - (ulong)(s->Budget + s->Held);
        return null;
    }

    /// <summary>The instruction is done.</summary>
    public readonly Op* Finish(CpuState* s, Op* op)
    {
        Charge(s);
        return op + 1;
    }

    /// <summary>An iteration faulted, or must run alone: RIP stays on the instruction.</summary>
    public readonly Op* Stop(CpuState* s, Op* op)
    {
        s->Budget += op->After + 1 - (long)_done;
        s->Rip += op->Offset;
        if (_done > 0) s->RepeatedAt = s->Deadline - (ulong)(s->Budget + s->Held);
        return null;
    }

    readonly void Charge(CpuState* s)
    {
        if (_done > 1) s->Budget -= (long)_done - 1;
    }

    readonly void Set(ulong* register, ulong value)
    {
        if (_mask == ulong.MaxValue) *register = value;
        else if (_mask == uint.MaxValue) *register = (uint)value;
        else *(ushort*)register = (ushort)value;
    }
}
