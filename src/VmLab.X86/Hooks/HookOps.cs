namespace VmLab.X86;

/// <summary>The op that a breakpoint puts before an instruction.</summary>
static unsafe class HookOps
{
    /// <summary>Leaves the block before the instruction behind it if a breakpoint is there, in this address space.</summary>
    public static Op* Stop(CpuState* s, Op* op) => Vcpu.Of(s).MustStop(op) ? Exec.Abandon(s, op) : op + 1;
}
