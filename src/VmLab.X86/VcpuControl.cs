namespace VmLab.X86;

// Control registers, and what follows from them: paging mode, address space, TLB bank.
public sealed unsafe partial class Vcpu
{
    /// <summary>MOV to a control register. Source: Intel SDM vol. 2, "MOV to/from Control Registers".</summary>
    internal Op* WriteControl(Op* op, int register, ulong value)
    {
        Count(ExitReason.ControlRegister);
        bool isAllowed = register switch
        {
            0 => TrySetCr0(value),
            2 => TrySetCr2(value),
            3 => TrySetCr3(value),
            4 => TrySetCr4(value),
            8 => TrySetCr8(op, value),
            _ => false,
        };
        return isAllowed ? Exec.LeaveAfter(_s, op, Leave.Check) : Exec.RaiseGeneralProtection(_s, op);
    }

    internal ulong ReadControl(int register)
    {
        Count(ExitReason.ControlRegister);
        return register switch
        {
            0 => _s->Cr0,
            2 => _s->Cr2,
            3 => _s->Cr3,
            4 => _s->Cr4,
            _ => _board.Interrupts.Priority,
        };
    }

    internal void ClearTaskSwitched()
    {
        _s->Cr0 &= ~Cr0.TaskSwitched;
        UpdateMode();
    }

    /// <summary>Selects the TLB bank of the present kind of access.</summary>
    internal void SelectBank()
    {
        int kind = _s->Cpl == 3 ? (ChecksAlignment ? Tlb.UserAligned : Tlb.User)
            : (_s->Cr4 & Cr4.Smap) != 0 && (_s->SystemFlags & Rflags.AlignmentCheck) != 0 ? Tlb.SupervisorOpen
            : Tlb.Supervisor;
        _s->Tlb = _tlb.Select(kind);
    }

    /// <summary>Derives what follows from the control registers: the address space, and the mode with it.</summary>
    void UpdateSpace()
    {
        _tlb.Enter(AddressSpace.Of(_s));
        UpdateMode();
    }

    bool TrySetCr0(ulong value)
    {
        if (value >> 32 != 0) return false;
        value = value & Cr0.All | Cr0.ExtensionType;
        bool pages = (value & Cr0.Paging) != 0, paged = (_s->Cr0 & Cr0.Paging) != 0;
        if (pages && (value & Cr0.ProtectionEnable) == 0) return false;
        if ((value & Cr0.NotWriteThrough) != 0 && (value & Cr0.CacheDisable) == 0) return false;
        if (paged && !pages && ((_s->ModeKey & CodeKey.Long) != 0 || (_s->Cr4 & Cr4.Pcid) != 0)) return false;
        ulong efer = _s->Efer;
        if (pages && !paged && (efer & Efer.LongModeEnable) != 0)
        {
            if (!MayEnterLongMode()) return false;
            efer |= Efer.LongModeActive;
        }
        if (!pages) efer &= ~Efer.LongModeActive;
        const ulong Reloading = Cr0.Paging | Cr0.CacheDisable | Cr0.NotWriteThrough;
        return TrySetPaging(value, _s->Cr3, _s->Cr4, efer, ((value ^ _s->Cr0) & Reloading) != 0);
    }

    /// <summary>Source: Intel SDM vol. 3A §10.8.5 (initialising IA-32e mode) and §10.8.5.2 (its checks).</summary>
    bool MayEnterLongMode()
    {
        bool hasTaskOf16Bits = (_s->TssRights & 0x1D) == 1;   // available or busy
        return (_s->Cr4 & Cr4.PhysicalAddressExtension) != 0
            && (_s->SegmentRights[Segment.Cs] & SegmentRights.Long) == 0 && !hasTaskOf16Bits;
    }

    bool TrySetCr2(ulong value)
    {
        _s->Cr2 = value;
        return true;
    }

    bool TrySetCr3(ulong value)
    {
        if ((_s->Cr4 & Cr4.Pcid) != 0) value &= ~(1UL << 63);   // "do not flush": nothing here needs flushing
        return value >> PageWalker.PhysicalBits == 0 && TrySetPaging(_s->Cr0, value, _s->Cr4, _s->Efer, true);
    }

    bool TrySetCr4(ulong value)
    {
        if ((value & ~Cr4.Supported) != 0) return false;
        if (_s->IsLongMode && (value & Cr4.PhysicalAddressExtension) == 0) return false;
        bool setsPcid = (value & ~_s->Cr4 & Cr4.Pcid) != 0;
        if (setsPcid && (!_s->IsLongMode || (_s->Cr3 & 0xFFF) != 0)) return false;
        const ulong Reloading = Cr4.PhysicalAddressExtension | Cr4.GlobalPages | Cr4.PageSizeExtensions | Cr4.Smep;
        return TrySetPaging(_s->Cr0, _s->Cr3, value, _s->Efer, ((value ^ _s->Cr4) & Reloading) != 0);
    }

    bool TrySetCr8(Op* op, ulong value)
    {
        if (value > 15) return false;
        Publish(op);
        _board.Interrupts.Priority = (byte)value;
        return true;
    }

    /// <summary>Sets all that names the address space, consistent as it is.</summary>
    /// <param name="reloads">PAE paging, where it is on then, takes its directory pointers from memory.</param>
    /// <returns><see langword="false"/>, with nothing changed: a directory pointer has a reserved bit set.</returns>
    /// <remarks>Source: Intel SDM vol. 3A §4.4.1.</remarks>
    bool TrySetPaging(ulong cr0, ulong cr3, ulong cr4, ulong efer, bool reloads)
    {
        if (reloads && AddressSpace.ModeOf(cr0, cr4, efer) == PagingMode.Pae)
        {
            Span<ulong> pointers = stackalloc ulong[4];
            if (!_walker.TryReadPointers(cr3, pointers)) return false;
            pointers.CopyTo(new Span<ulong>(_s->DirectoryPointers, 4));
        }
        (_s->Cr0, _s->Cr3, _s->Cr4, _s->Efer) = (cr0, cr3, cr4, efer);
        UpdateSpace();
        return true;
    }
}
