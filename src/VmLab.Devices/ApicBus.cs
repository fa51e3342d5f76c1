namespace VmLab.Devices;

/// <summary>What connects the APICs of a machine: interrupts go one way, ends of interrupts the other.</summary>
/// <remarks>
/// Delivery is at once and in the order of joining, so it is deterministic. Source: Intel SDM vol. 3A §11.6.2
/// (determining the destination), §11.11 (message-signalled interrupts).
/// </remarks>
public sealed class ApicBus
{
    readonly List<LocalApic> _locals = [];
    readonly List<IoApic> _ios = [];

    /// <summary>
    /// Delivers to every local APIC that the destination names; lowest priority, to the least busy of them.
    /// </summary>
    /// <returns>Whether anybody took it.</returns>
    public bool Deliver(in ApicMessage message)
    {
        if (message.Mode == DeliveryMode.LowestPriority) return LeastBusy(message)?.Accept(message) ?? false;
        bool isTaken = false;
        foreach (LocalApic apic in _locals)
            if (apic.Matches(message)) isTaken |= apic.Accept(message);
        return isTaken;
    }

    /// <summary>Delivers to every local APIC but perhaps one.</summary>
    public void Broadcast(in ApicMessage message, LocalApic? except)
    {
        foreach (LocalApic apic in _locals)
            if (apic != except) apic.Accept(message);
    }

    /// <summary>Delivers a message-signalled interrupt: a device's 32-bit write to 0xFEExxxxx.</summary>
    public bool DeliverMsi(ulong address, uint data) => Deliver(new ApicMessage(
        ApicMessage.Widen((byte)(address >> 12)), IsLogical: (address & 4) != 0,
        (DeliveryMode)(data >> 8 & 7), (byte)data));

    /// <summary>Tells the I/O APICs that a level-triggered interrupt was served.</summary>
    public void EndOfInterrupt(byte vector)
    {
        foreach (IoApic apic in _ios) apic.EndOfInterrupt(vector);
    }

    internal void Join(LocalApic apic) => _locals.Add(apic);

    internal void Join(IoApic apic) => _ios.Add(apic);

    LocalApic? LeastBusy(in ApicMessage message)
    {
        LocalApic? best = null;
        foreach (LocalApic apic in _locals)
        {
            if (!apic.Matches(message) || !apic.IsEnabled) continue;
            if (best is null || apic.ProcessorPriority < best.ProcessorPriority) best = apic;
        }
        return best;
    }
}
