using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>A packed virtqueue: one ring of descriptors that driver and device write in turn.</summary>
/// <remarks>
/// Simplified: the device asks for every notification, as its event suppression area says when the driver cleared it.
/// Source: VIRTIO 1.2, §2.8.
/// </remarks>
sealed class PackedRing(GuestMemory memory, bool mayBeIndirect, bool hasEventIndex)
    : VirtioRing(memory, mayBeIndirect, hasEventIndex)
{
    const ushort Available = 1 << 7, Used = 1 << 15;
    const int IdOffset = 12, LengthOffset = 8, FlagsOffset = 14, EventSize = 4;
    const ushort EventsOff = 1, EventsAtIndex = 2;

    public override bool IsSound(in VirtqueueState queue) =>
        queue.Size is > 0 and <= VirtqueueState.MostDescriptors
        && IsArea(queue.Descriptors, DescriptorSize * queue.Size, alignment: 16)
        && IsArea(queue.Driver, EventSize, alignment: 4) && IsArea(queue.Device, EventSize, alignment: 4);

    public override RingStatus Peek(in VirtqueueState queue, VirtioChain chain)
    {
        (int position, bool lap) = (queue.Position, queue.Lap);
        chain.Clear();
        while (chain.RingDescriptors < queue.Size)
        {
            var descriptor = ReadDescriptor(queue.Descriptors, position);
            ushort flags = descriptor.Fourth;
            bool isFirst = chain.RingDescriptors == 0;
            if ((flags & Available) != 0 != lap || (flags & Used) != 0 == lap)
                return isFirst ? RingStatus.Empty : RingStatus.Malformed;

            chain.RingDescriptors++;
            chain.Id = descriptor.Third;
            bool isSound = (flags & Indirect) != 0
                ? isFirst && IsTable(descriptor, flags) && TryAddTable(descriptor, chain)
                : chain.TryAdd(descriptor.Address, descriptor.Length, (flags & Write) != 0);
            if (!isSound) return RingStatus.Malformed;
            if ((flags & Next) == 0) return RingStatus.Ready;
            (position, lap) = Step(queue.Size, position, lap, 1);
        }
        return RingStatus.Malformed;
    }

    public override bool Complete(ref VirtqueueState queue, VirtioChain chain, uint written)
    {
        ulong entry = queue.Descriptors + (ulong)(DescriptorSize * queue.Position);
        Memory.Write32(entry + LengthOffset, written);
        Memory.Write16(entry + IdOffset, chain.Id);
        int flags = (queue.Lap ? Available | Used : 0) | (written > 0 ? Write : 0);
        Memory.Write16(entry + FlagsOffset, (ushort)flags);
        (int position, bool lap) = Step(queue.Size, queue.Position, queue.Lap, chain.RingDescriptors);
        queue = queue with { Position = (ushort)position, Lap = lap };
        return WantsInterrupt(queue, chain.RingDescriptors);
    }

    public override void AskForNotification(in VirtqueueState queue)
    {
    }

    // The entries of an indirect table are one after the other; of their flags only Write counts.
    bool TryAddTable(in Descriptor table, VirtioChain chain)
    {
        for (int i = 0; i < table.Length / DescriptorSize; i++)
        {
            var descriptor = ReadDescriptor(table.Address, i);
            if ((descriptor.Fourth & Indirect) != 0) return false;
            if (!chain.TryAdd(descriptor.Address, descriptor.Length, (descriptor.Fourth & Write) != 0)) return false;
        }
        return true;
    }

    /// <summary>Whether the descriptors just given back hold the one that the driver waits for.</summary>
    bool WantsInterrupt(in VirtqueueState queue, int given)
    {
        ushort when = Memory.Read16(queue.Driver), how = Memory.Read16(queue.Driver + 2);
        if (how != EventsAtIndex || !HasEventIndex) return how != EventsOff;
        int wanted = (when & 0x7FFF) - (when >> 15 != 0 == queue.Lap ? 0 : queue.Size);
        return wanted < queue.Position && wanted >= queue.Position - given;
    }

    static (int Position, bool Lap) Step(int size, int position, bool lap, int count) =>
        position + count < size ? (position + count, lap) : (position + count - size, !lap);
}
