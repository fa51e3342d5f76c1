
namespace VmLab.X86;

/// <summary>How a string instruction repeats.</summary>
interface IRepeat
{
    static abstract bool Repeats { get; }

    /// <summary>CMPS and SCAS go on while ZF has this value.</summary>
    static abstract bool WhileZero { get; }
}

struct Once : IRepeat
{
    public static bool Repeats => false;
    public static bool WhileZero => false;
}

struct Repeat : IRepeat
{
    public static bool Repeats => true;
    public static bool WhileZero => true;
}

struct RepeatWhileNotZero : IRepeat
{
    public static bool Repeats => true;
    public static bool WhileZero => false;
}

/// <summary>
/// Handlers of string instructions: the last of their block, since a repetition takes from the budget as it goes.
/// </summary>
/// <remarks>
/// Each iteration is one count, and a repetition of zero iterations is one. The budget may end it between iterations,
/// with RIP on the
/// instruction. Plain memory goes in bulk, a page at a time. <see cref="Op.Extra"/> is the address width in bits.
/// Source: Intel SDM vol. 2, REP, MOVS, STOS, LODS, CMPS, SCAS, INS, OUTS.
/// </remarks>
static unsafe class Strings
{
    public static Op* Move<W, TRepeat>(CpuState* s, Op* op)
        where W : IWidth
        where TRepeat : IRepeat
    {
        var run = new StringRun(s, op, W.Bytes, TRepeat.Repeats);
        while (run.HasNext)
        {
            ulong from = run.Source(s, op), to = run.Target(s, op);
            byte* source = Exec.Readable(s, op, from, W.Bytes);
            if (source == null) return run.Stop(s, op);
            ulong count = run.InPage(from, to);
            if (count > 1 && run.Step > 0 && !Overlaps(source, s, from, to, count * (ulong)W.Bytes, out byte* bulk))
            {
                Buffer.MemoryCopy(source, bulk, count * (ulong)W.Bytes, count * (ulong)W.Bytes);
                run.Advance(s, op, count, movesSource: true, movesTarget: true);
                continue;
            }
            ulong value = W.Read(source);
            byte* target = Exec.Writable(s, op, to, W.Bytes);
            if (target == null) return run.Stop(s, op);
            W.Write(target, value);
            Exec.Finish(s, op);
            run.Advance(s, op, 1, movesSource: true, movesTarget: true);
            if (run.MustLeave(s)) break;
        }
        return run.End(s, op);
    }
    public static Op* Fill<W, TRepeat>(CpuState* s, Op* op)
        where W : IWidth
        where TRepeat : IRepeat
    {
        var run = new StringRun(s, op, W.Bytes, TRepeat.Repeats);
        ulong value = W.Read((byte*)s);
        while (run.HasNext)
        {
            ulong to = run.Target(s, op);
            byte* target = Exec.Writable(s, op, to, W.Bytes);
            if (target == null) return run.Stop(s, op);
            ulong count = run.Step > 0 && IsPlain(s, to) ? run.InPage(to, to) : 1;
            FillBytes<W>(target, value, count);
            Exec.Finish(s, op);
            run.Advance(s, op, count, movesSource: false, movesTarget: true);
            if (run.MustLeave(s)) break;
        }
        return run.End(s, op);
    }

    public static Op* LoadString<W, TRepeat>(CpuState* s, Op* op)
        where W : IWidth
        where TRepeat : IRepeat
    {
        var run = new StringRun(s, op, W.Bytes, TRepeat.Repeats);
        while (run.HasNext)
        {
            byte* source = Exec.Readable(s, op, run.Source(s, op), W.Bytes);
            if (source == null) return run.Stop(s, op);
            W.WriteRegister((byte*)s, W.Read(source));
            run.Advance(s, op, 1, movesSource: true, movesTarget: false);
            if (run.MustLeave(s)) break;
        }
        return run.End(s, op);
    }

    public static Op* Compare<W, TRepeat>(CpuState* s, Op* op)
        where W : IWidth
        where TRepeat : IRepeat
    {
        var run = new StringRun(s, op, W.Bytes, TRepeat.Repeats);
        while (run.HasNext)
        {
            byte* source = Exec.Readable(s, op, run.Source(s, op), W.Bytes);
            if (source == null) return run.Stop(s, op);
            ulong a = W.Read(source);
            byte* target = Exec.Readable(s, op, run.Target(s, op), W.Bytes);
            if (target == null) return run.Stop(s, op);
            Sub.Apply<W>(s, a, W.Read(target));
            run.Advance(s, op, 1, movesSource: true, movesTarget: true);
            if (TRepeat.Repeats && Flags.Zero(s) != TRepeat.WhileZero) return run.Finish(s, op);
            if (run.MustLeave(s)) break;
        }
        return run.End(s, op);
    }

    public static Op* Scan<W, TRepeat>(CpuState* s, Op* op)
        where W : IWidth
        where TRepeat : IRepeat
    {
        var run = new StringRun(s, op, W.Bytes, TRepeat.Repeats);
        while (run.HasNext)
        {
            byte* target = Exec.Readable(s, op, run.Target(s, op), W.Bytes);
            if (target == null) return run.Stop(s, op);
            Sub.Apply<W>(s, W.Read((byte*)s), W.Read(target));
            run.Advance(s, op, 1, movesSource: false, movesTarget: true);
            if (TRepeat.Repeats && Flags.Zero(s) != TRepeat.WhileZero) return run.Finish(s, op);
            if (run.MustLeave(s)) break;
        }
        return run.End(s, op);
    }

    /// <summary>OUTS: memory to a port, an iteration at a time, since the device may have moved a line.</summary>
    public static Op* Output<W, TRepeat>(CpuState* s, Op* op)
        where W : IWidth
        where TRepeat : IRepeat
    {
        var run = new StringRun(s, op, W.Bytes, TRepeat.Repeats);
        if (!run.HasNext) return run.End(s, op);
        Vcpu cpu = Vcpu.Of(s);
        if (!cpu.MayTouchDevice()) return run.Stop(s, op);
        if (!cpu.MayUsePort((ushort)s->Gpr[Gpr.Rdx], W.Bytes)) return run.Stop(s, op);
        byte* source = Exec.Readable(s, op, run.Source(s, op), W.Bytes);
        if (source == null) return run.Stop(s, op);
        cpu.WritePort(op, (ushort)s->Gpr[Gpr.Rdx], W.Bytes, (uint)W.Read(source));
        run.Advance(s, op, 1, movesSource: true, movesTarget: false);
        return run.End(s, op);
    }

    /// <summary>INS: a port to memory.</summary>
    /// <inheritdoc cref="Output"/>
    public static Op* Input<W, TRepeat>(CpuState* s, Op* op)
        where W : IWidth
        where TRepeat : IRepeat
    {
        var run = new StringRun(s, op, W.Bytes, TRepeat.Repeats);
        if (!run.HasNext) return run.End(s, op);
        Vcpu cpu = Vcpu.Of(s);
        if (!cpu.MayTouchDevice()) return run.Stop(s, op);
        if (!cpu.MayUsePort((ushort)s->Gpr[Gpr.Rdx], W.Bytes)) return run.Stop(s, op);
        byte* target = Exec.Writable(s, op, run.Target(s, op), W.Bytes);
        if (target == null) return run.Stop(s, op);
        W.Write(target, cpu.ReadPort(op, (ushort)s->Gpr[Gpr.Rdx], W.Bytes));
        Exec.Finish(s, op);
        run.Advance(s, op, 1, movesSource: false, movesTarget: true);
        return run.End(s, op);
    }

    /// <summary>Whether a bulk copy would be wrong or may not write there at once.</summary>
    static bool Overlaps(byte* source, CpuState* s, ulong from, ulong to, ulong bytes, out byte* target)
    {
        target = null;
        if (!IsPlain(s, to)) return true;
        if ((s->Tlb[(from >> 12) & Tlb.IndexMask].Read ^ from) > 4095) return true;   // each access is to be seen
        if (source >= (byte*)s->Scratch && source < (byte*)s->Scratch + CpuState.ScratchBytes) return true;
        target = s->Tlb[(to >> 12) & Tlb.IndexMask].At(to);
        // Forward copies may overlap only where the source lies at or behind the target.
        return target > source && target < source + bytes;
    }

    /// <summary>Stores to the page need not be announced.</summary>
    static bool IsPlain(CpuState* s, ulong linear) =>
        (s->Tlb[(linear >> 12) & Tlb.IndexMask].Write ^ linear) <= 4095;

    static void FillBytes<W>(byte* target, ulong value, ulong count)
        where W : IWidth
    {
        if (W.Bytes == 1) new Span<byte>(target, (int)count).Fill((byte)value);
        else if (W.Bytes == 8) new Span<ulong>(target, (int)count).Fill(value);
        else if (W.Bytes == 4) new Span<uint>(target, (int)count).Fill((uint)value);
        else new Span<ushort>(target, (int)count).Fill((ushort)value);
    }
}
