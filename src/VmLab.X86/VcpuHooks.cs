using System.Runtime.InteropServices;
using VmLab.Core;

namespace VmLab.X86;

// Breakpoints and watches from outside. What is not armed costs nothing: a breakpoint is an op of its own in rebuilt
// blocks, and a watch takes the TLB's rights away from the pages it is on.
public sealed unsafe partial class Vcpu
{
    /// <summary>What is watched, for whom: a watch from outside, or a debug register of the guest.</summary>
    readonly record struct WatchedRange(Watch Range, int DebugRegister)
    {
        public const int Outside = -1;
    }

    static readonly (ulong Time, ulong Linear) s_none = (ulong.MaxValue, 0);

    readonly Dictionary<ulong, int> _breakpoints = [];   // by linear address: how many want it
    readonly PageOffsets _stops = new();
    readonly List<Watch> _watches = [];
    readonly List<WatchHit> _touches = [];
    readonly List<WatchHit> _watchHits = [];
    WatchedRange[] _ranges = [];
    (ulong Time, ulong Linear) _passed = s_none;   // the breakpoint that the last run stopped at
    ulong _resumedAt = ulong.MaxValue, _shadowedAt = ulong.MaxValue;

    /// <summary>What the watches saw of the last instruction or delivery, when a run ended in <see cref="StopReason.Watch"/>.</summary>
    public IReadOnlyList<WatchHit> WatchHits => _watchHits;

    /// <summary>
    /// Stops runs before the instruction at a linear address, in every address space. Each call adds one that <see
    /// cref="RemoveBreakpoint"/> takes away.
    /// </summary>
    /// <remarks>
    /// An instruction is stopped at once each time that it begins: after a fault it begins anew, and between two iterations of
    /// a repetition it does not. Call it between runs; it drops all decoded code.
    /// </remarks>
    public void AddBreakpoint(ulong linear)
    {
        CollectionsMarshal.GetValueRefOrAddDefault(_breakpoints, linear, out _)++;
        RearmStops();
    }

    /// <inheritdoc cref="AddBreakpoint"/>
    public void RemoveBreakpoint(ulong linear)
    {
        if (!_breakpoints.TryGetValue(linear, out int count)) return;
        if (count == 1) _breakpoints.Remove(linear);
        else _breakpoints[linear] = count - 1;
        RearmStops();
    }

    /// <summary>Ends runs behind each instruction, iteration or delivery that touches a range.</summary>
    /// <remarks>
    /// It sees data accesses of instructions, and the frames of exceptions and interrupts; not fetches, page walks, accesses
    /// to descriptor tables and task states, and what devices write. Call it between runs.
    /// </remarks>
    public void AddWatch(Watch watch)
    {
        _watches.Add(watch);
        RearmRanges();
    }

    /// <inheritdoc cref="AddWatch"/>
    public void RemoveWatch(Watch watch)
    {
        _watches.RemoveAll(other => ReferenceEquals(other, watch));
        RearmRanges();
    }

    /// <summary>A repetition was left between two iterations, and RIP is on it.</summary>
    bool IsRepeating => _s->RepeatedAt == Now;

    /// <summary>The same, between runs.</summary>
    bool IsLeftInRepetition => _s->RepeatedAt == _board.Clock.Now;

    /// <summary>Time is another now: nothing that was noted of it holds.</summary>
    void ForgetStops()
    {
        _passed = s_none;
        _resumedAt = _shadowedAt = ulong.MaxValue;
    }

    ulong LinearOf(ulong rip)
    {
        ulong linear = rip + _s->SegmentBases[Segment.Cs];
        return (_s->ModeKey & CodeKey.Long) != 0 ? linear : (uint)linear;
    }

    /// <summary>Whether a breakpoint is at the instruction behind an op, in this address space; Leave says for whom.</summary>
    internal bool MustStop(Op* op)
    {
        ulong linear = LinearOf(Exec.RipOf(_s, op)), now = Exec.Now(_s, op);
        if (now == _s->RepeatedAt) return false;
        if (_breakpoints.ContainsKey(linear) && _passed != (now, linear))
        {
            _passed = (now, linear);
            _s->Leave = Leave.Break;
            return true;
        }
        return now != _resumedAt && now != _shadowedAt && TrySetCodeBreakpoint(linear);
    }

    /// <summary>Puts stops where breakpoints are now; code of other places stays decoded.</summary>
    void RearmStops()
    {
        PageOffsets before = _stops.Copy();
        _stops.Clear();
        foreach (ulong linear in _breakpoints.Keys) _stops.Add(linear);
        AddCodeBreakpoints(_stops);
        foreach (ulong page in _code.DropGranules(_stops.GranulesOtherThan(before))) _ram.Unprotect(page, PageFlags.Code);
        _crossings.Clear();
    }

    void RearmRanges()
    {
        List<WatchedRange> ranges = [.. _watches.Select(watch => new WatchedRange(watch, WatchedRange.Outside))];
        AddDataBreakpoints(ranges);
        if (ranges.Count == 0 && _ranges.Length == 0) return;
        _ranges = [.. ranges];
        _tlb.Flush();
        SelectBank();
    }

    /// <summary>Takes from a TLB entry to be the rights that watches on its page need.</summary>
    void Deny(ulong linear, ulong physical, ref bool read, ref bool write)
    {
        foreach (WatchedRange watched in _ranges)
        {
            ulong page = (watched.Range.IsPhysical ? physical : linear) & ~0xFFFUL;
            if (!watched.Range.Overlaps(page, 4096)) continue;
            read &= (watched.Range.Access & MemoryAccess.Read) == 0;
            write &= (watched.Range.Access & MemoryAccess.Write) == 0;
        }
    }

    /// <summary>Whether the instruction may touch bytes; if somebody watches them, only alone, so that it can be stopped behind.</summary>
    /// <param name="first">Physical address of the first byte, and of so many bytes in its page.</param>
    /// <param name="second">Physical address of the rest, where there is any.</param>
    bool MayTouch(ulong linear, int bytes, ulong first, int inFirst, ulong second, MemoryAccess access)
    {
        foreach (WatchedRange watched in _ranges)
        {
            if (!Sees(watched.Range, linear, bytes, first, inFirst, second, access)) continue;
            if (!MayTouchDevice()) return false;
            NoteTouch(watched, linear, bytes, access);
        }
        return true;
    }

    void NoteDelivery(ulong linear, int bytes, ulong first, int inFirst, ulong second)
    {
        foreach (WatchedRange watched in _ranges)
            if (Sees(watched.Range, linear, bytes, first, inFirst, second, MemoryAccess.Write))
                NoteTouch(watched, linear, bytes, MemoryAccess.Write);
    }

    static bool Sees(Watch range, ulong linear, int bytes, ulong first, int inFirst, ulong second, MemoryAccess access)
    {
        if ((range.Access & access) == 0) return false;
        if (!range.IsPhysical) return range.Overlaps(linear, (ulong)bytes);
        return range.Overlaps(first, (ulong)inFirst) || inFirst < bytes && range.Overlaps(second, (ulong)(bytes - inFirst));
    }

    void NoteTouch(WatchedRange watched, ulong linear, int bytes, MemoryAccess access)
    {
        if (watched.DebugRegister == WatchedRange.Outside) _touches.Add(new WatchHit(watched.Range, linear, bytes, access, 0));
        else _touchedRegisters |= (ushort)(1 << watched.DebugRegister);
    }

    /// <summary>The instruction or delivery that touched watched bytes is done.</summary>
    void SettleTouches(ulong rip)
    {
        _s->TrapPending |= _touchedRegisters;
        if (_touches.Count > 0) _s->DeviceTouched = 1;
        foreach (WatchHit touch in _touches) _watchHits.Add(touch with { Rip = rip });
        DropTouches();
    }

    void DropTouches()
    {
        _touches.Clear();
        _touchedRegisters = 0;
    }
}
