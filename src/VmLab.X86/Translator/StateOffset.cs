namespace VmLab.X86;

/// <summary>Where translated code finds the fields of <see cref="CpuState"/>, in bytes.</summary>
static unsafe class StateOffset
{
    public static readonly int
        Rip, Budget, Tlb, Leave, Left, ModeKey, BlockCache, SegmentBases, HostFlags, Spill,
        SpillFlags, FlagSources, Windows, Returns, CrashedAt, Cpl, Cr4, SystemFlags, TscOffset, TscAux, Deadline, HostMxcsr, CallerMxcsr, Xmm;

    static StateOffset()
    {
        CpuState state = default;
        var start = (byte*)&state;
        Rip = (int)((byte*)&state.Rip - start);
        Budget = (int)((byte*)&state.Budget - start);
        Tlb = (int)((byte*)&state.Tlb - start);
        Leave = (int)((byte*)&state.Leave - start);
        Left = (int)((byte*)&state.Left - start);
        ModeKey = (int)((byte*)&state.ModeKey - start);
        BlockCache = (int)((byte*)&state.BlockCache - start);
        SegmentBases = (int)((byte*)state.SegmentBases - start);
        HostFlags = (int)((byte*)&state.HostFlags - start);
        Returns = (int)((byte*)state.Returns - start);
        CrashedAt = (int)((byte*)&state.CrashedAt - start);
        Cpl = (int)(&state.Cpl - start);
        Cr4 = (int)((byte*)&state.Cr4 - start);
        SystemFlags = (int)((byte*)&state.SystemFlags - start);
        TscOffset = (int)((byte*)&state.TscOffset - start);
        TscAux = (int)((byte*)&state.TscAux - start);
        Deadline = (int)((byte*)&state.Deadline - start);
        HostMxcsr = (int)((byte*)&state.HostMxcsr - start);
        CallerMxcsr = (int)((byte*)&state.CallerMxcsr - start);
        Xmm = (int)((byte*)state.Xmm - start);
        Spill = (int)((byte*)&state.Spill - start);
        SpillFlags = (int)((byte*)&state.SpillFlags - start);
        FlagSources = (int)((byte*)state.FlagSources - start);
        Windows = (int)((byte*)state.Windows - start);
    }
}
