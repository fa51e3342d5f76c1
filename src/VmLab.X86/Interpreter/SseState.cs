using System.Runtime.CompilerServices;
using VmLab.X86.Floating;

namespace VmLab.X86;

/// <summary>Handlers of MXCSR, of the image of FXSAVE, and of stores under a mask.</summary>
static unsafe class SseState
{
    /// <summary>The bits of MXCSR that exist, which FXSAVE tells in its MXCSR_MASK.</summary>
    const uint MxcsrBits = 0xFFFF;

    // The image, in bytes. Source: Intel SDM vol. 1 table 10-2.
    const int ImageSize = 512, MxcsrOffset = 24, MaskOffset = 28, RegistersOffset = 32, XmmOffset = 160, SavedSize = 416;

    /// <summary>LDMXCSR.</summary>
    public static Op* LoadControl<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        byte* source = Exec.Readable(s, op, TAddress.Of(s, op), 4);
        if (source == null) return Exec.Abandon(s, op);
        uint value = *(uint*)source;
        if ((value & ~MxcsrBits) != 0) return Exec.RaiseGeneralProtection(s, op);
        s->Mxcsr = value;
        return op + 1;
    }

    /// <summary>STMXCSR.</summary>
    public static Op* StoreControl<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress => Exec.Store<W32>(s, op, TAddress.Of(s, op), s->Mxcsr);

    /// <summary>FXSAVE; <see cref="Op.Extra"/> is 1 for FXSAVE64. XMM8 and up are stored in 64-bit mode only.</summary>
    public static Op* Save<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        ulong linear = TAddress.Of(s, op);
        if (!Sse.IsAligned(s, linear)) return Exec.Abandon(s, op);
        Vcpu cpu = Vcpu.Of(s);
        if (!cpu.ProbeWrite(op, linear, ImageSize)) return Exec.Abandon(s, op);

        byte* image = stackalloc byte[SavedSize];
        var bytes = new Span<byte>(image, SavedSize);
        X87.SaveExtended(s->X87, bytes, isWide: op->Extra != 0);
        *(uint*)(image + MxcsrOffset) = s->Mxcsr;
        *(uint*)(image + MaskOffset) = MxcsrBits;
        int length = XmmOffset + 16 * XmmCount(s);
        new ReadOnlySpan<byte>(s->Xmm, length - XmmOffset).CopyTo(bytes[XmmOffset..]);

        // Repeated as a whole should a device or code be in the way: what is stored twice is the same.
        for (int i = 0; i < length; i += 8)
            if (Exec.Store<W64>(s, op, linear + (ulong)i, *(ulong*)(image + i)) == null) return null;
        return op + 1;
    }

    /// <summary>FXRSTOR; <see cref="Op.Extra"/> is 1 for FXRSTOR64.</summary>
    public static Op* Restore<TAddress>(CpuState* s, Op* op)
        where TAddress : IAddress
    {
        ulong linear = TAddress.Of(s, op);
        if (!Sse.IsAligned(s, linear)) return Exec.Abandon(s, op);
        byte* image = stackalloc byte[SavedSize];
        int length = XmmOffset + 16 * XmmCount(s);
        for (int i = 0; i < length; i += 16)
        {
            byte* source = Exec.Readable(s, op, linear + (ulong)i, 16);
            if (source == null) return Exec.Abandon(s, op);
            Unsafe.CopyBlockUnaligned(image + i, source, 16);
        }
        uint mxcsr = *(uint*)(image + MxcsrOffset);
        if ((mxcsr & ~MxcsrBits) != 0) return Exec.RaiseGeneralProtection(s, op);

        s->Mxcsr = mxcsr;
        X87.RestoreExtended(ref s->X87, new ReadOnlySpan<byte>(image, SavedSize), isWide: op->Extra != 0);
        new ReadOnlySpan<byte>(image + XmmOffset, length - XmmOffset).CopyTo(new Span<byte>(s->Xmm, length - XmmOffset));
        return op + 1;
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

    static int XmmCount(CpuState* s) => (s->ModeKey & CodeKey.Long) != 0 ? 16 : 8;
}
