namespace VmLab.Core;

/// <summary>A device that answers model-specific registers, as a local APIC does.</summary>
public interface IMsrDevice
{
    /// <returns><see langword="false"/> when there is no such register: the guest sees #GP(0).</returns>
    bool TryReadMsr(uint index, out ulong value);

    /// <returns>
    /// <see langword="false"/> when there is no such register, or it refuses the value: the guest sees #GP(0).
    /// </returns>
    bool TryWriteMsr(uint index, ulong value);
}

/// <summary>The model-specific registers that live outside the processor, by ranges.</summary>
public sealed class MsrBus : IMsrDevice
{
    readonly List<(uint First, uint Last, IMsrDevice Device)> _ranges = [];

    public void Add(uint first, uint last, IMsrDevice device) => _ranges.Add((first, last, device));

    public bool TryReadMsr(uint index, out ulong value)
    {
        foreach (var (first, last, device) in _ranges)
            if (index >= first && index <= last) return device.TryReadMsr(index, out value);
        value = 0;
        return false;
    }

    public bool TryWriteMsr(uint index, ulong value)
    {
        foreach (var (first, last, device) in _ranges)
            if (index >= first && index <= last) return device.TryWriteMsr(index, value);
        return false;
    }
}
