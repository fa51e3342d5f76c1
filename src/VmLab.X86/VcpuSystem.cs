namespace VmLab.X86;

// System calls, ports, and the state after a reset.
public sealed unsafe partial class Vcpu
{
    /// <summary>Source: Intel SDM vol. 3A table 9-1.</summary>
    public void Reset()
    {
        _s->SystemFlags = 0;
        Flags.SetArithmetic(_s, 0);
        _s->Cr0 = Cr0.ExtensionType | Cr0.NotWriteThrough | Cr0.CacheDisable;
        _s->Xcr0 = 1;
        _s->Dr[6] = Dr6.Fixed;
        _s->Dr[7] = Dr7.Fixed;
        _s->RepeatedAt = ulong.MaxValue;
        _s->Pat = 0x0007_0406_0007_0406;
        _s->Mxcsr = Floating.FloatContext.DefaultMxcsr;
        _s->MiscEnable = 1;
        _s->X87 = Floating.X87State.Initial with { Control = 0x40, Tags = 0xFF };
        _s->Gpr[Gpr.Rdx] = Cpuid.Signature;
        UpdateSpace();
    }

    /// <summary>Puts the processor where a loader wants it: flat segments, paging and interrupts as given.</summary>
    public void Start(bool isLong, ulong rip, ulong cr3, ulong gdtBase, ushort gdtLimit, ushort code, ushort data)
    {
        _s->Cr0 = Cr0.ProtectionEnable | Cr0.ExtensionType | Cr0.NumericError | (isLong ? Cr0.Paging : 0);
        _s->Cr4 = isLong ? Cr4.PhysicalAddressExtension : 0;
        _s->Efer = isLong ? Efer.LongModeEnable | Efer.LongModeActive : 0;
        _s->Cr3 = cr3;
        _s->GdtBase = gdtBase;
        _s->GdtLimit = gdtLimit;
        _s->Cpl = 0;
        ushort codeRights = (ushort)(0x9B | SegmentRights.Granular | (isLong ? SegmentRights.Long : SegmentRights.Big));
        var flat = new Descriptor(0, uint.MaxValue, 0x93 | SegmentRights.Granular | SegmentRights.Big);
        SetSegment(Segment.Cs, code, new Descriptor(0, uint.MaxValue, codeRights));
        foreach (int segment in (ReadOnlySpan<int>)[Segment.Ss, Segment.Ds, Segment.Es, Segment.Fs, Segment.Gs])
            SetSegment(segment, data, flat);
        _s->Rip = rip;
        Refresh();
    }

    internal void SetFlags(ulong flags)
    {
        Flags.SetArithmetic(_s, flags);
        const ulong Known = Rflags.Trap | Rflags.Interrupt | Rflags.Direction | Rflags.Iopl | Rflags.NestedTask | Rflags.Resume
            | Rflags.AlignmentCheck | Rflags.VirtualInterrupt | Rflags.VirtualInterruptPending | Rflags.Identification;
        _s->SystemFlags = flags & Known;
    }

    /// <summary>
    /// Whether the privilege level, or the task's permission map, allows a port. Sets the fault if not.
    /// </summary>
    internal bool MayUsePort(ushort port, int bytes)
    {
        int iopl = (int)(_s->SystemFlags >> 12 & 3);
        return _s->Cpl <= iopl || (_s->Cr0 & Cr0.ProtectionEnable) == 0 || IsPermittedByTask(port, bytes);
    }

    internal uint ReadPort(Op* op, ushort port, int bytes)
    {
        Publish(op);
        TouchPorts(port, bytes);
        Count(ExitReason.PortRead);
        return _board.Ports.Read(port, bytes);
    }

    internal void WritePort(Op* op, ushort port, int bytes, uint value)
    {
        Publish(op);
        TouchPorts(port, bytes);
        Count(ExitReason.PortWrite);
        _board.Ports.Write(port, bytes, value);
    }

    // Source: Intel SDM vol. 1 §19.5.2.
    bool IsPermittedByTask(ushort port, int bytes)
    {
        const int MapBase = 102;
        if (_s->TssLimit < MapBase + 1) return FailWith(CpuException.GeneralProtection(0));
        if (!TryReadSystem(_s->TssBase + MapBase, 2, out ulong map)) return false;
        ulong at = map + (ulong)(port >> 3);
        if (at + 1 > _s->TssLimit) return FailWith(CpuException.GeneralProtection(0));
        if (!TryReadSystem(_s->TssBase + at, 2, out ulong bits)) return false;
        ulong mask = (1UL << bytes) - 1 << (port & 7);
        return (bits & mask) == 0 || FailWith(CpuException.GeneralProtection(0));
    }

    /// <summary>Time-stamp counter before an op's instruction: 1 GHz, so one tick a nanosecond.</summary>
    internal ulong ReadTimeStamp(Op* op) => Exec.Now(_s, op) + _s->TscOffset;
}
