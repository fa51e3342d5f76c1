using System.Runtime.CompilerServices;

namespace VmLab.X86;

// Operations that leave the flags alone, for where FlagLiveness found them dead.

unsafe struct FlaglessBinary<TOp> : IBinary
    where TOp : IBinary
{
    public static bool Writes => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a, ulong b)
        where W : IWidth => TOp.Compute<W>(a, b);
}

unsafe struct FlaglessUnary<TOp> : IUnary
    where TOp : IUnary
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong a)
        where W : IWidth => TOp.Compute<W>(a);
}

unsafe struct FlaglessShift<TOp> : IShift
    where TOp : IShift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Apply<W>(CpuState* s, ulong value, int count)
        where W : IWidth => TOp.Compute<W>(value, count);
}
