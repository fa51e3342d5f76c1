using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace VmLab.X86;

/// <summary>An operation on vector registers; it uses what it needs of its operands.</summary>
/// <remarks>MMX operands stand in the lower halves, with zeros above; of the result the lower half counts.</remarks>
interface IVector
{
    /// <param name="a">The old target.</param>
    /// <param name="b">The source.</param>
    /// <param name="control">The immediate operand, if there is one.</param>
    static abstract Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, byte control);
}

/// <summary>How much of a source operand is read.</summary>
unsafe interface ILoad
{
    static abstract int Bytes { get; }

    /// <summary>A memory operand must be aligned to 16 bytes.</summary>
    static abstract bool IsAligned { get; }

    /// <returns>The operand, with zeros above it.</returns>
    static abstract Vector128<byte> From(byte* source);
}

/// <summary>Sixteen bytes; in memory they must be aligned.</summary>
unsafe struct Whole : ILoad
{
    public static int Bytes => 16;
    public static bool IsAligned => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> From(byte* source) => Vector128.Load(source);
}

/// <summary>Sixteen bytes, anywhere.</summary>
unsafe struct Unaligned : ILoad
{
    public static int Bytes => 16;
    public static bool IsAligned => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> From(byte* source) => Vector128.Load(source);
}

/// <summary>An operand of eight bytes or less, anywhere; of a register, its low bytes.</summary>
unsafe struct Low<W> : ILoad
    where W : IWidth
{
    public static int Bytes => W.Bytes;
    public static bool IsAligned => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> From(byte* source) => Vector128.CreateScalar(W.Read(source)).AsByte();
}

/// <summary>An XMM register; <see cref="Op.B"/> is its byte offset among them.</summary>
unsafe struct XmmRegister : ISource
{
    public static bool CanFault => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Pointer(CpuState* s, Op* op, int bytes) => (byte*)s->Xmm + op->B;
}

/// <summary>Sixteen aligned bytes of memory.</summary>
unsafe struct AlignedMemory<TAddress> : ISource
    where TAddress : IAddress
{
    public static bool CanFault => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Pointer(CpuState* s, Op* op, int bytes) => Sse.Readable(s, op, TAddress.Of(s, op));
}

/// <summary>What the handlers of vector instructions share: aligned memory, and the common shapes.</summary>
/// <remarks>
/// <see cref="Op.A"/> and <see cref="Op.B"/> are byte offsets into the XMM registers, 16 times the number, plus an
/// element's where an instruction is about one; for a general register they are its offset in the state, as ever.
/// </remarks>
static unsafe class Sse
{
    /// <summary>The highest place in a page where sixteen aligned bytes start, in units of sixteen.</summary>
    const ulong LastPlace = 4096 / 16 - 1;

    /// <summary>Sixteen aligned bytes of memory to read; #GP(0) when they are not aligned.</summary>
    /// <inheritdoc cref="Exec.Readable"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Readable(CpuState* s, Op* op, ulong linear)
    {
        TlbEntry* entry = s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        // Rotated, a misaligned address is as far off as another page.
        return BitOperations.RotateRight(entry->Read ^ linear, 4) <= LastPlace
            ? entry->At(linear)
            : ReadSlow(s, op, linear);
    }

    /// <summary>Sixteen aligned bytes of memory to write; #GP(0) when they are not aligned.</summary>
    /// <inheritdoc cref="Exec.Writable"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static byte* Writable(CpuState* s, Op* op, ulong linear)
    {
        TlbEntry* entry = s->Tlb + ((linear >> 12) & Tlb.IndexMask);
        return BitOperations.RotateRight(entry->Write ^ linear, 4) <= LastPlace
            ? entry->At(linear)
            : WriteSlow(s, op, linear);
    }

    /// <summary>Target := operation(target, source): most of them.</summary>
    public static Op* Apply<TOp, TLoad, TSource>(CpuState* s, Op* op)
        where TOp : IVector
        where TLoad : ILoad
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, TLoad.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        byte* target = (byte*)s->Xmm + op->A;
        TOp.Apply(Vector128.Load(target), TLoad.From(source), (byte)op->Immediate).Store(target);
        return op + 1;
    }

    /// <summary>Replaces some bytes of a register: MOVSS, MOVHPS, PINSRB and the like.</summary>
    public static Op* Insert<W, TSource>(CpuState* s, Op* op)
        where W : IWidth
        where TSource : ISource
    {
        byte* source = TSource.Pointer(s, op, W.Bytes);
        if (TSource.CanFault && source == null) return Exec.Abandon(s, op);
        W.Write((byte*)s->Xmm + op->A, W.Read(source));
        return op + 1;
    }

    /// <summary>Stores a whole register.</summary>
    public static Op* Store<TLoad, TAddress>(CpuState* s, Op* op)
        where TLoad : ILoad
        where TAddress : IAddress
    {
        ulong linear = TAddress.Of(s, op);
        byte* target = TLoad.IsAligned ? Writable(s, op, linear) : Exec.Writable(s, op, linear, 16);
        if (target == null) return Exec.Abandon(s, op);
        Vector128.Load((byte*)s->Xmm + op->B).Store(target);
        return Exec.Finish(s, op);
    }

    /// <summary>A general register := a number made of a vector register: MOVMSKPS, PMOVMSKB.</summary>
    public static Op* Summarize<TOp>(CpuState* s, Op* op)
        where TOp : ISummary
    {
        *(ulong*)((byte*)s + op->A) = TOp.Of(Vector128.Load((byte*)s->Xmm + op->B));
        return op + 1;
    }

    /// <summary>CR0 or CR4 forbid the instruction; <see cref="Op.Extra"/> is not 0 when it needs CR4.OSFXSR.</summary>
    /// <remarks>Source: Intel SDM vol. 3A §2.5, §14.1, table 14-1.</remarks>
    public static Op* Refuse(CpuState* s, Op* op)
    {
        bool isUnknown = (s->Cr0 & Cr0.Emulation) != 0 || op->Extra != 0 && (s->Cr4 & Cr4.FxSave) == 0;
        return Exec.Raise(s, op, isUnknown ? Vector.InvalidOpcode : Vector.DeviceNotAvailable);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static byte* ReadSlow(CpuState* s, Op* op, ulong linear) =>
        IsAligned(s, linear) ? Vcpu.Of(s).ReadSlow(op, linear, 16) : null;

    [MethodImpl(MethodImplOptions.NoInlining)]
    static byte* WriteSlow(CpuState* s, Op* op, ulong linear) =>
        IsAligned(s, linear) ? Vcpu.Of(s).WriteSlow(op, linear, 16, isRead: false) : null;

    /// <returns>Whether the address is a multiple of 16; if not, the fault is set.</returns>
    public static bool IsAligned(CpuState* s, ulong linear)
    {
        if ((linear & 15) == 0) return true;
        Vcpu.Of(s).SetFault(CpuException.GeneralProtection(0));
        return false;
    }
}

/// <summary>A number that tells something of a vector.</summary>
interface ISummary
{
    static abstract ulong Of(Vector128<byte> vector);
}

/// <summary>The sign bits of a vector's elements, the first one's lowest.</summary>
struct Signs<T> : ISummary
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Of(Vector128<byte> vector) => vector.As<byte, T>().ExtractMostSignificantBits();
}
