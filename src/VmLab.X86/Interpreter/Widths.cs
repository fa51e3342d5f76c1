using System.Runtime.CompilerServices;

namespace VmLab.X86;

/// <summary>An operand's width: what a handler is specialised by.</summary>
unsafe interface IWidth
{
    static abstract int Bytes { get; }
    static abstract int Bits { get; }
    static abstract ulong Mask { get; }

    /// <summary>Reads, zero-extended.</summary>
    static abstract ulong Read(byte* address);
    static abstract void Write(byte* address, ulong value);

    /// <summary>Writes a register: 32 bits clear the upper half, 8 and 16 bits leave the rest.</summary>
    static abstract void WriteRegister(byte* address, ulong value);
    static abstract ulong SignExtend(ulong value);
}

unsafe struct W8 : IWidth
{
    public static int Bytes => 1;
    public static int Bits => 8;
    public static ulong Mask => 0xFF;
    public static ulong Read(byte* address) => *address;
    public static void Write(byte* address, ulong value) => *address = (byte)value;
    public static void WriteRegister(byte* address, ulong value) => *address = (byte)value;
    public static ulong SignExtend(ulong value) => (ulong)(sbyte)value;
}

unsafe struct W16 : IWidth
{
    public static int Bytes => 2;
    public static int Bits => 16;
    public static ulong Mask => 0xFFFF;
    public static ulong Read(byte* address) => *(ushort*)address;
    public static void Write(byte* address, ulong value) => *(ushort*)address = (ushort)value;
    public static void WriteRegister(byte* address, ulong value) => *(ushort*)address = (ushort)value;
    public static ulong SignExtend(ulong value) => (ulong)(short)value;
}

unsafe struct W32 : IWidth
{
    public static int Bytes => 4;
    public static int Bits => 32;
    public static ulong Mask => 0xFFFF_FFFF;
    public static ulong Read(byte* address) => *(uint*)address;
    public static void Write(byte* address, ulong value) => *(uint*)address = (uint)value;
    public static void WriteRegister(byte* address, ulong value) => *(ulong*)address = (uint)value;
    public static ulong SignExtend(ulong value) => (ulong)(int)value;
}

unsafe struct W64 : IWidth
{
    public static int Bytes => 8;
    public static int Bits => 64;
    public static ulong Mask => ulong.MaxValue;
    public static ulong Read(byte* address) => *(ulong*)address;
    public static void Write(byte* address, ulong value) => *(ulong*)address = value;
    public static void WriteRegister(byte* address, ulong value) => *(ulong*)address = value;
    public static ulong SignExtend(ulong value) => value;
}

/// <summary>How a memory operand's address is computed.</summary>
unsafe interface IAddress
{
    static abstract ulong Of(CpuState* s, Op* op);
}

/// <summary>Base and displacement, no segment base: most of them.</summary>
unsafe struct BaseAddress : IAddress
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Of(CpuState* s, Op* op) => CpuState.Read(s, op->Base) + (ulong)op->Displacement;
}

/// <summary>Base, scaled index, displacement and segment base.</summary>
unsafe struct FullAddress : IAddress
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Of(CpuState* s, Op* op) =>
        CpuState.Read(s, op->Base) + (CpuState.Read(s, op->Index) << op->Shift) + (ulong)op->Displacement
        + s->SegmentBases[op->Segment];
}

/// <summary>As <see cref="FullAddress"/>, with an offset of 32 bits.</summary>
unsafe struct Address32 : IAddress
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Of(CpuState* s, Op* op)
    {
        uint offset = (uint)(CpuState.Read(s, op->Base) + (CpuState.Read(s, op->Index) << op->Shift) + (ulong)op->Displacement);
        bool isLong = (s->ModeKey & CodeKey.Long) != 0;
        return isLong ? offset + s->SegmentBases[op->Segment] : Segmentation.Linear(s, op->Segment, offset);
    }
}

/// <summary>As <see cref="FullAddress"/>, with an offset of 16 bits.</summary>
unsafe struct Address16 : IAddress
{
    public static ulong Of(CpuState* s, Op* op)
    {
        ushort offset = (ushort)(CpuState.Read(s, op->Base) + CpuState.Read(s, op->Index) + (ulong)op->Displacement);
        return Segmentation.Linear(s, op->Segment, offset);
    }
}

/// <summary>Where a source operand's bytes are.</summary>
unsafe interface ISource
{
    static abstract bool CanFault { get; }

    /// <returns>The operand's bytes; <see langword="null"/> when the access faulted or must leave the block.</returns>
    static abstract byte* Pointer(CpuState* s, Op* op, int bytes);
}

unsafe struct Register : ISource
{
    public static bool CanFault => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Pointer(CpuState* s, Op* op, int bytes) => (byte*)s + op->B;
}

unsafe struct Immediate : ISource
{
    public static bool CanFault => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Pointer(CpuState* s, Op* op, int bytes) => (byte*)&op->Immediate;
}

unsafe struct Memory<TAddress> : ISource
    where TAddress : IAddress
{
    public static bool CanFault => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Pointer(CpuState* s, Op* op, int bytes) => Exec.Readable(s, op, TAddress.Of(s, op), bytes);
}
