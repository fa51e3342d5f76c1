using System.Runtime.CompilerServices;
using VmLab.X86.Floating;

namespace VmLab.X86;

/// <summary>Handlers of MXCSR, of the image of FXSAVE, and of stores under a mask.</summary>
static unsafe class SseState
{
    /// <summary>The bits of MXCSR that exist, which FXSAVE tells in its MXCSR_MASK.</summary>
    public const uint MxcsrBits = 0xFFFF;

    // The image, in bytes. Source: Intel SDM vol. 1 table 10-2.
    const int ImageSize = 512, MxcsrOffset = 24, MaskOffset = 28, XmmOffset = 160;

    /// <summary>LDMXCSR.</summary>
    public static Op* LoadControl<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        byte* source = Exec.Readable(s, op, TAddress.Of(s, op), 4);
        if (source == null) return Exec.Abandon(s, op);
        uint value = *(uint*)source;
        if ((value & ~MxcsrBits) != 0) return Exec.RaiseGeneralProtection(s, op);
        return EndLoad(s, op, value);
    }

    /// <summary>Ends an instruction that loads MXCSR: whether it lets exceptions through is part of the mode of code.</summary>
    public static Op* EndLoad(CpuState* s, Op* op, uint mxcsr)
    {
        bool changes = HasTraps(mxcsr) != HasTraps(s->Mxcsr);
        s->Mxcsr = mxcsr;
        if (!changes) return op + 1;
        Vcpu.Of(s).UpdateMode();
        return Exec.LeaveAfter(s, op, Leave.Next);
    }

    /// <summary>Whether an SSE exception is unmasked.</summary>
    public static bool HasTraps(uint mxcsr) => (~mxcsr & FloatContext.DefaultMxcsr) != 0;

    /// <summary>STMXCSR.</summary>
    public static Op* StoreControl<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress => Exec.Store<W32>(s, op, TAddress.Of(s, op), s->Mxcsr);

    /// <summary>FXSAVE; <see cref="Op.Extra"/> is 1 for FXSAVE64. XMM8 and up are stored in 64-bit mode only.</summary>
    public static Op* Save<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        ulong linear = TAddress.Of(s, op);
        byte* image = Sse.IsAligned(s, linear) ? Exec.Modifiable(s, op, linear, ImageSize) : null;
        if (image == null) return Exec.Abandon(s, op);
        X87.SaveExtended(s->X87, new Span<byte>(image, ImageSize), isWide: op->Extra != 0);
        *(uint*)(image + MxcsrOffset) = s->Mxcsr;
        *(uint*)(image + MaskOffset) = MxcsrBits;
        Unsafe.CopyBlockUnaligned(image + XmmOffset, s->Xmm, XmmBytes(s));
        return Exec.Finish(s, op);
    }

    /// <summary>FXRSTOR; <see cref="Op.Extra"/> is 1 for FXRSTOR64.</summary>
    public static Op* Restore<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        ulong linear = TAddress.Of(s, op);
        byte* image = Sse.IsAligned(s, linear) ? Exec.Readable(s, op, linear, ImageSize) : null;
        if (image == null) return Exec.Abandon(s, op);
        uint mxcsr = *(uint*)(image + MxcsrOffset);
        if ((mxcsr & ~MxcsrBits) != 0) return Exec.RaiseGeneralProtection(s, op);
        X87.RestoreExtended(ref s->X87, new ReadOnlySpan<byte>(image, ImageSize), isWide: op->Extra != 0);
        Unsafe.CopyBlockUnaligned(s->Xmm, image + XmmOffset, XmmBytes(s));
        return EndLoad(s, op, mxcsr);
    }

    /// <summary>MASKMOVDQU: stores the bytes whose mask is negative, at the address in RDI.</summary>
    public static Op* StoreMasked<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress =>
        StoreMasked(s, op, TAddress.Of(s, op), (byte*)s->Xmm + op->A, (byte*)s->Xmm + op->B, 16);

    /// <summary>MASKMOVQ.</summary>
    public static Op* StoreMaskedMmx<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        if (s->X87.HasPendingException) return Mmx.RaisePending(s, op);
        Op* next = StoreMasked(s, op, TAddress.Of(s, op), Mmx.Register(s, op->A), Mmx.Register(s, op->B), 8);
        if (next != null) X87.EnterMmx(ref s->X87);
        return next;
    }

    // Whether a page fault is raised for bytes that are not stored is left open by the manual; here it is not.
    static Op* StoreMasked(CpuState* s, Op* op, ulong linear, byte* source, byte* mask, int bytes)
    {
        Vcpu cpu = Vcpu.Of(s);
        for (int i = 0; i < bytes; i++)
            if ((mask[i] & 0x80) != 0 && !cpu.ProbeWrite(op, linear + (ulong)i, 1)) return Exec.Abandon(s, op);
        for (int i = 0; i < bytes; i++)
            if ((mask[i] & 0x80) != 0 && Exec.Store<W8>(s, op, linear + (ulong)i, source[i]) == null) return null;
        return op + 1;
    }

    /// <summary>What of the registers the mode has: eight outside 64-bit mode.</summary>
    public static uint XmmBytes(CpuState* s) => (s->ModeKey & CodeKey.Long) != 0 ? 256U : 128U;
}
