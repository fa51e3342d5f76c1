using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using VmLab.X86.Floating;

namespace VmLab.X86;

/// <summary>Handlers of the XSAVE family, for the two components that there are: x87 and SSE.</summary>
/// <remarks>
/// A component counts as in use when its registers differ from their initial values, and as modified always: what processors
/// may decide by their own history is a function of the registers here. Source: Intel SDM vol. 1 ch. 13; vol. 2, by mnemonic.
/// </remarks>
static unsafe class XSaveOps
{
    /// <summary>Components, as bits of XCR0.</summary>
    public const ulong X87 = 1, Sse = 2, Supported = X87 | Sse;

    /// <summary>The legacy region and the header, in bytes.</summary>
    public const int AreaSize = 576;

    const ulong Compacted = 1UL << 63;
    const int Alignment = 64, LegacySize = 512, MxcsrOffset = 24, MaskOffset = 28, XmmOffset = 160;

    // The header, in quadwords from the area's start: XSTATE_BV, XCOMP_BV, and six that are reserved.
    const int StateWord = LegacySize / 8, CompactionWord = StateWord + 1, EndWord = AreaSize / 8;

    /// <summary>XGETBV: XCR0, or what of it is in use.</summary>
    public static Op* GetControl(CpuState* s, Op* op)
    {
        if (!IsEnabled(s)) return Exec.Raise(s, op, Vector.InvalidOpcode);
        var register = (uint)s->Gpr[Gpr.Rcx];
        if (register > 1) return Exec.RaiseGeneralProtection(s, op);
        s->Gpr[Gpr.Rax] = (uint)(register == 0 ? s->Xcr0 : s->Xcr0 & InUse(s, countsControl: true));
        s->Gpr[Gpr.Rdx] = 0;
        return op + 1;
    }

    /// <summary>Whether XCR0 may hold this.</summary>
    public static bool IsControl(ulong value) => (value & ~Supported) == 0 && (value & X87) != 0;

    /// <summary>XSETBV: x87 cannot be left out, and nothing else than x87 and SSE be asked for.</summary>
    public static Op* SetControl(CpuState* s, Op* op)
    {
        if (!IsEnabled(s)) return Exec.Raise(s, op, Vector.InvalidOpcode);
        ulong value = s->Gpr[Gpr.Rdx] << 32 | (uint)s->Gpr[Gpr.Rax];
        bool isGood = s->Cpl == 0 && (uint)s->Gpr[Gpr.Rcx] == 0 && IsControl(value);
        if (!isGood) return Exec.RaiseGeneralProtection(s, op);
        s->Xcr0 = value;
        return op + 1;
    }

    /// <summary>XSAVE, XSAVEOPT and XSAVEC; <see cref="Op.Extra"/> is 1 for pointers of 64 bits.</summary>
    public static Op* Save<TKind, TAddress>(CpuState* s, Op* op)
        where TKind : ISaving
        where TAddress : IAddress
    {
        if (Refusal(s) is { } vector) return Exec.Raise(s, op, vector);
        ulong linear = TAddress.Of(s, op);
        if ((linear & Alignment - 1) != 0) return Exec.RaiseGeneralProtection(s, op);
        byte* area = Exec.Modifiable(s, op, linear, AreaSize);
        if (area == null) return Exec.Abandon(s, op);
        ulong* header = (ulong*)area;
        ulong asked = Asked(s), used = asked & InUse(s, countsControl: TKind.IsCompacted);
        ulong written = TKind.LeavesOutInitial ? used : asked;
        if ((written & X87) != 0) Floating.X87.SaveExtended(s->X87, new Span<byte>(area, LegacySize), isWide: op->Extra != 0);
        if ((written & Sse) != 0) Unsafe.CopyBlockUnaligned(area + XmmOffset, s->Xmm, SseState.XmmBytes(s));
        if (((TKind.IsCompacted ? written : asked) & Sse) != 0)
        {
            *(uint*)(area + MxcsrOffset) = s->Mxcsr;
            *(uint*)(area + MaskOffset) = SseState.MxcsrBits;
        }
        header[StateWord] = TKind.IsCompacted ? used : header[StateWord] & ~asked | used;
        if (TKind.IsCompacted) header[CompactionWord] = asked | Compacted;
        return Exec.Finish(s, op);
    }

    /// <summary>XRSTOR, of either form of area; <see cref="Op.Extra"/> is 1 for pointers of 64 bits.</summary>
    public static Op* Restore<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        if (Refusal(s) is { } vector) return Exec.Raise(s, op, vector);
        ulong linear = TAddress.Of(s, op);
        if ((linear & Alignment - 1) != 0) return Exec.RaiseGeneralProtection(s, op);
        byte* area = Exec.Readable(s, op, linear, AreaSize);
        if (area == null) return Exec.Abandon(s, op);
        ulong* header = (ulong*)area;
        bool isCompacted = (header[CompactionWord] & Compacted) != 0;
        if (!IsGoodHeader(s, header, isCompacted)) return Exec.RaiseGeneralProtection(s, op);
        ulong asked = Asked(s), there = header[StateWord];
        // The standard form has MXCSR whether it has the registers or not.
        bool hasControl = (asked & (isCompacted ? there : ulong.MaxValue) & Sse) != 0;
        uint mxcsr = *(uint*)(area + MxcsrOffset);
        if (hasControl && (mxcsr & ~SseState.MxcsrBits) != 0) return Exec.RaiseGeneralProtection(s, op);

        if ((asked & ~there & X87) != 0) s->X87 = X87State.Initial;
        if ((asked & there & X87) != 0)
            Floating.X87.RestoreExtended(ref s->X87, new ReadOnlySpan<byte>(area, LegacySize), isWide: op->Extra != 0);
        if ((asked & ~there & Sse) != 0) Unsafe.InitBlockUnaligned(s->Xmm, 0, SseState.XmmBytes(s));
        if ((asked & there & Sse) != 0) Unsafe.CopyBlockUnaligned(s->Xmm, area + XmmOffset, SseState.XmmBytes(s));
        if ((asked & Sse) == 0) return op + 1;
        return SseState.EndLoad(s, op, hasControl ? mxcsr : FloatContext.DefaultMxcsr);
    }

    static bool IsGoodHeader(CpuState* s, ulong* header, bool isCompacted)
    {
        ulong there = header[StateWord], compaction = header[CompactionWord] & ~Compacted;
        ulong reserved = 0;
        // The standard form asks for no more than two quadwords of zeros behind XSTATE_BV.
        for (int word = CompactionWord + 1; word < (isCompacted ? EndWord : CompactionWord + 2); word++) reserved |= header[word];
        if (reserved != 0) return false;
        return isCompacted
            ? (compaction & ~s->Xcr0) == 0 && (there & ~compaction) == 0
            : compaction == 0 && (there & ~s->Xcr0) == 0;
    }

    static byte? Refusal(CpuState* s)
    {
        if (!IsEnabled(s)) return Vector.InvalidOpcode;
        return (s->Cr0 & Cr0.TaskSwitched) != 0 ? Vector.DeviceNotAvailable : null;
    }

    static bool IsEnabled(CpuState* s) => (s->Cr4 & Cr4.XSave) != 0;

    /// <summary>The components that EDX:EAX asks for and XCR0 allows.</summary>
    static ulong Asked(CpuState* s) => s->Xcr0 & (s->Gpr[Gpr.Rdx] << 32 | (uint)s->Gpr[Gpr.Rax]);

    /// <param name="countsControl">MXCSR beside its initial value makes SSE count as in use.</param>
    static ulong InUse(CpuState* s, bool countsControl)
    {
        X87State initial = X87State.Initial;
        bool isInitial = AsBytes(ref s->X87).SequenceEqual(AsBytes(ref initial));
        bool usesSse = new ReadOnlySpan<ulong>(s->Xmm, (int)SseState.XmmBytes(s) / 8).ContainsAnyExcept(0UL)
            || countsControl && s->Mxcsr != FloatContext.DefaultMxcsr;
        return (isInitial ? 0 : X87) | (usesSse ? Sse : 0);
    }

    static ReadOnlySpan<byte> AsBytes(ref X87State state) => MemoryMarshal.AsBytes(new ReadOnlySpan<X87State>(ref state));
}

/// <summary>What the instructions that save differ in.</summary>
interface ISaving
{
    /// <summary>Components in their initial state are marked so, and not written.</summary>
    static abstract bool LeavesOutInitial { get; }

    /// <summary>The area is written in compacted form, and its header is not read.</summary>
    static abstract bool IsCompacted { get; }
}

struct SaveAll : ISaving
{
    public static bool LeavesOutInitial => false;
    public static bool IsCompacted => false;
}

struct SaveOptimized : ISaving
{
    public static bool LeavesOutInitial => true;
    public static bool IsCompacted => false;
}

struct SaveCompacted : ISaving
{
    public static bool LeavesOutInitial => true;
    public static bool IsCompacted => true;
}
