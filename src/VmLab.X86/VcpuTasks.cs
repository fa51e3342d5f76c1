namespace VmLab.X86;

// The task register, the local descriptor table, and instructions that look at descriptors.
public sealed unsafe partial class Vcpu
{
    /// <summary>LTR. Source: Intel SDM vol. 2, LTR.</summary>
    internal bool TryLoadTaskRegister(ushort selector)
    {
        uint error = selector & ~3U;
        if (!TryReadSystemDescriptor(selector, out Descriptor found)) return false;
        bool isAvailable = found.SystemType == SystemType.Tss || !_s->IsLongMode && found.SystemType == SystemType.Tss16;
        if (!isAvailable) return FailWith(CpuException.GeneralProtection(error));
        if (!found.IsPresent) return FailWith(CpuException.NotPresent(error));
        if (!TryReadUpperBase(selector, ref found)) return false;
        found = found with { Rights = (ushort)(found.Rights | SystemType.Busy) };
        if (!TryWriteSystem(_s->GdtBase + (error & ~7U) + 5, 1, (byte)found.Rights)) return false;
        _s->TssSelector = selector;
        _s->TssBase = found.Base;
        _s->TssLimit = found.Limit;
        _s->TssRights = found.Rights;
        return true;
    }

    /// <summary>LLDT. Source: Intel SDM vol. 2, LLDT.</summary>
    internal bool TryLoadLocalTable(ushort selector)
    {
        if ((selector & ~3) == 0)
        {
            _s->LdtSelector = selector;
            _s->LdtRights = 0;
            return true;
        }
        if (!TryReadSystemDescriptor(selector, out Descriptor found)) return false;
        if (found.SystemType != SystemType.Ldt) return FailWith(CpuException.GeneralProtection(selector & ~3U));
        if (!found.IsPresent) return FailWith(CpuException.NotPresent(selector & ~3U));
        if (!TryReadUpperBase(selector, ref found)) return false;
        _s->LdtSelector = selector;
        _s->LdtBase = found.Base;
        _s->LdtLimit = found.Limit;
        _s->LdtRights = found.Rights;
        return true;
    }

    /// <summary>A system descriptor of the GDT; the upper half of its base is still to come.</summary>
    bool TryReadSystemDescriptor(ushort selector, out Descriptor found)
    {
        found = default;
        uint error = selector & ~3U;
        if (error == 0 || (selector & 4) != 0) return FailWith(CpuException.GeneralProtection(error));
        if (!TryReadDescriptor(selector, CpuException.GeneralProtection(error), out found)) return false;
        return !found.IsCodeOrData || FailWith(CpuException.GeneralProtection(error));
    }

    /// <summary>In long mode, the upper half of a system descriptor's base, which must be canonical.</summary>
    bool TryReadUpperBase(ushort selector, ref Descriptor found)
    {
        if (!_s->IsLongMode) return true;
        CpuException bad = CpuException.GeneralProtection(selector & ~3U);
        if (!TryReadUpperHalf(selector, bad, out ulong upper)) return false;
        const ulong UpperType = 0x1FUL << 40;
        found = found with { Base = found.Base | upper << 32 };
        return (upper & UpperType) == 0 && IsCanonical(found.Base) || FailWith(bad);
    }

    /// <summary>LAR, LSL, VERR, VERW: looks at a descriptor without loading it.</summary>
    /// <param name="found"><see langword="null"/> when it may not be seen, which ZF tells.</param>
    /// <returns><see langword="false"/> on a page fault in the table.</returns>
    /// <remarks>Source: Intel SDM vol. 2, LAR, LSL, VERR.</remarks>
    internal bool TryInspect(ushort selector, bool forLimit, out Descriptor? found)
    {
        found = null;
        if ((selector & ~3) == 0 || !IsInTable(selector)) return true;
        if (!TryReadDescriptor(selector, default, out Descriptor descriptor)) return false;
        bool isVisible = descriptor.IsConforming || descriptor.Dpl >= Math.Max(selector & 3, _s->Cpl);
        if (isVisible && (descriptor.IsCodeOrData || HasType(descriptor.SystemType, forLimit))) found = descriptor;
        return true;
    }

    bool HasType(int type, bool hasLimit) => type switch
    {
        SystemType.Ldt or SystemType.Tss or SystemType.BusyTss => true,
        SystemType.CallGate => !hasLimit,
        SystemType.Tss16 or SystemType.BusyTss16 => !_s->IsLongMode,
        SystemType.CallGate16 or SystemType.TaskGate => !_s->IsLongMode && !hasLimit,
        _ => false,
    };
}
