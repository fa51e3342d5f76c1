namespace VmLab.X86;

// The guest's own debug facilities. Source: Intel SDM vol. 3B §17.2 and §17.3.
public sealed unsafe partial class Vcpu
{
    ushort _touchedRegisters;
    bool _stopsForGuest;
    bool _hasSettledTrap;

    /// <param name="number">0 to 3, 6 or 7.</param>
    internal void SetDebugRegister(int number, ulong value)
    {
        _s->Dr[number] = number switch
        {
            6 => value & Dr6.Writable | Dr6.Fixed,
            7 => value & Dr7.Writable | Dr7.Fixed,
            _ => value,
        };
        if (number != 6) RearmDebugRegisters();
    }

    /// <summary>DR7.GD: an access to a debug register is a fault. Source: §17.2.4, §17.3.1.3.</summary>
    internal Op* RaiseGeneralDetect(Op* op)
    {
        _s->Dr[6] |= Dr6.GeneralDetect;
        _s->SystemFlags |= Rflags.Resume;   // pushed as for any fault but that of a breakpoint
        return Exec.Raise(_s, op, Vector.Debug);
    }

    /// <summary>ICEBP: a debug trap without a cause in DR6.</summary>
    internal Op* RaiseIcebp(Op* op)
    {
        _s->TrapPending |= Dr6.Icebp;
        _hasSettledTrap = true;
        return Exec.LeaveAfter(_s, op, Leave.Next);
    }

    /// <summary>
    /// SYSCALL and SYSRET look at TF when they are done, other instructions when they begin. Source: §17.3.1.4.
    /// </summary>
    void SettleTrap()
    {
        if ((_s->SystemFlags & Rflags.Trap) != 0) _s->TrapPending |= Dr6.SingleStep;
        _hasSettledTrap = true;
    }

    /// <summary>Delivers the trap that breakpoints on data and ports, and RFLAGS.TF, leave behind an instruction.</summary>
    bool DeliverDebugTrap()
    {
        _s->Dr[6] |= (uint)(_s->TrapPending & (Dr6.Breakpoints | Dr6.SingleStep));
        if (IsRepeating) _s->SystemFlags |= Rflags.Resume;
        SetFault(new CpuException(Vector.Debug));
        return DeliverFault();
    }

    /// <summary>Entering the handler of a debug exception opens the debug registers. Source: §17.2.4, §17.4.1.</summary>
    void EnterDebugHandler()
    {
        _s->Dr[7] &= ~Dr7.GeneralDetect;
        _s->DebugControl = 0;
    }

    /// <summary>Raises the fault of a breakpoint on an instruction, if there is one.</summary>
    bool TrySetCodeBreakpoint(ulong linear)
    {
        uint hits = 0;
        for (int i = 0; i < 4; i++)
            if (IsEnabled(i, Dr7.Execute) && _s->Dr[i] == linear) hits |= 1U << i;
        if (hits == 0) return false;
        _s->Dr[6] |= hits;
        SetFault(new CpuException(Vector.Debug));
        return true;
    }

    /// <summary>Notes the breakpoints on a range of ports. Source: §17.2.4, R/W fields under CR4.DE.</summary>
    void TouchPorts(ushort port, int bytes)
    {
        if ((_s->Dr[7] & Dr7.EnablesAny) == 0) return;
        for (int i = 0; i < 4; i++)
            if (IsEnabled(i, Dr7.Port) && RangeOf(i, MemoryAccess.Any).Overlaps(port, (ulong)bytes)) _s->TrapPending |= (ushort)(1 << i);
    }

    void RearmDebugRegisters()
    {
        RearmRanges();
        if (_stopsForGuest || HasBreakpoint(Dr7.Execute)) RearmStops();
    }

    void AddCodeBreakpoints(PageOffsets stops)
    {
        _stopsForGuest = HasBreakpoint(Dr7.Execute);
        for (int i = 0; i < 4; i++)
            if (IsEnabled(i, Dr7.Execute)) stops.Add(_s->Dr[i]);
    }

    void AddDataBreakpoints(List<WatchedRange> ranges)
    {
        for (int i = 0; i < 4; i++)
        {
            if (IsEnabled(i, Dr7.Write)) ranges.Add(new WatchedRange(RangeOf(i, MemoryAccess.Write), i));
            if (IsEnabled(i, Dr7.ReadOrWrite)) ranges.Add(new WatchedRange(RangeOf(i, MemoryAccess.Any), i));
        }
    }

    bool HasBreakpoint(int kind) => IsEnabled(0, kind) || IsEnabled(1, kind) || IsEnabled(2, kind) || IsEnabled(3, kind);

    /// <summary>Whether a breakpoint is enabled, locally or globally, and of this kind; without CR4.DE none is on ports.</summary>
    bool IsEnabled(int number, int kind)
    {
        ulong control = _s->Dr[7];
        return (control >> 2 * number & 3) != 0 && (int)(control >> 16 + 4 * number & 3) == kind
            && (kind != Dr7.Port || (_s->Cr4 & Cr4.DebugExtensions) != 0);
    }

    /// <summary>What a breakpoint on data or ports covers: 1, 2, 4 or 8 bytes, aligned by themselves.</summary>
    Watch RangeOf(int number, MemoryAccess access)
    {
        ulong length = (_s->Dr[7] >> 18 + 4 * number & 3) switch { 0 => 1, 1 => 2, 2 => 8, _ => 4 };
        return new Watch(_s->Dr[number] & ~(length - 1), length, access, IsPhysical: false);
    }
}
