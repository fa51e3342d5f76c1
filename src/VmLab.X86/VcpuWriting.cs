namespace VmLab.X86;

// What a debugger may change between runs.
public sealed unsafe partial class Vcpu
{
    /// <summary>CR8: the class of the task priority, 0 to 15.</summary>
    public ulong Cr8 => _board.Interrupts.Priority;

    /// <summary>Goes on at another address, out of a HLT too.</summary>
    public void JumpTo(ulong rip)
    {
        _s->Rip = rip;
        _s->IsHalted = 0;
        Refresh();
    }

    /// <summary>Sets what POPFQ at privilege level 0 could set.</summary>
    public void SetRflags(ulong flags)
    {
        SetFlags(flags & ~Rflags.Virtual8086 | _s->SystemFlags & Rflags.Virtual8086);
        Refresh();
    }

    /// <returns><see langword="false"/>: the address is not canonical.</returns>
    public bool TrySetSegmentBase(int segment, ulong linear) => TrySetAddress(ref _s->SegmentBases[segment], linear);

    /// <inheritdoc cref="TrySetSegmentBase"/>
    public bool TrySetKernelGsBase(ulong linear) => TrySetAddress(ref _s->KernelGsBase, linear);
}
