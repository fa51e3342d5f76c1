using System.Numerics;
using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>A split virtqueue: a descriptor table, an available ring and a used ring.</summary>
/// <remarks>
/// Simplified: the used ring never asks the driver to be silent; only event indices do. Source: VIRTIO 1.2, §2.7.
/// </remarks>
sealed class SplitRing(GuestMemory memory, bool mayBeIndirect, bool hasEventIndex)
    : VirtioRing(memory, mayBeIndirect, hasEventIndex)
{
    const ulong Index = 2, Entries = 4;                 // of both rings
    const int AvailableSize = 2, UsedSize = 8;          // of an entry
    const ushort NoInterrupt = 1;

    public override bool IsSound(in VirtqueueState queue) =>
        BitOperations.IsPow2(queue.Size) && queue.Size <= VirtqueueState.MostDescriptors
        && IsArea(queue.Descriptors, DescriptorSize * queue.Size, alignment: 16)
        && IsArea(queue.Driver, 6 + AvailableSize * queue.Size, alignment: 2)
        && IsArea(queue.Device, 6 + UsedSize * queue.Size, alignment: 4);

    public override RingStatus Peek(in VirtqueueState queue, VirtioChain chain)
    {
        ushort waiting = (ushort)(Memory.Read16(queue.Driver + Index) - queue.Position);
        if (waiting == 0) return RingStatus.Empty;
        if (waiting > queue.Size) return RingStatus.Malformed;

        chain.Clear();
        chain.Id = Memory.Read16(queue.Driver + Entries + Slot(queue, AvailableSize));
        bool isSound = TryFollow(queue.Descriptors, queue.Size, chain.Id, MayBeIndirect, chain);
        return isSound ? RingStatus.Ready : RingStatus.Malformed;
    }

    public override bool Complete(ref VirtqueueState queue, VirtioChain chain, uint written)
    {
        ulong entry = queue.Device + Entries + Slot(queue, UsedSize);
        Memory.Write32(entry, chain.Id);
        Memory.Write32(entry + 4, written);
        ushort before = queue.Position;
        queue = queue with { Position = (ushort)(before + 1) };
        Memory.Write16(queue.Device + Index, queue.Position);
        return HasEventIndex
            ? Memory.Read16(queue.Driver + Entries + (ulong)(AvailableSize * queue.Size)) == before
            : (Memory.Read16(queue.Driver) & NoInterrupt) == 0;
    }

    public override void AskForNotification(in VirtqueueState queue)
    {
        if (HasEventIndex) Memory.Write16(queue.Device + Entries + (ulong)(UsedSize * queue.Size), queue.Position);
    }

    static ulong Slot(in VirtqueueState queue, int entrySize) => (ulong)(queue.Position % queue.Size * entrySize);

    // As many steps as there are descriptors: a longer chain is a loop.
    bool TryFollow(ulong table, int count, int index, bool mayBeIndirect, VirtioChain chain)
    {
        for (int step = 0; step < count && index < count; step++)
        {
            var descriptor = ReadDescriptor(table, index);
            (ushort flags, index) = (descriptor.Third, descriptor.Fourth);
            if ((flags & Indirect) != 0)
                return mayBeIndirect && IsTable(descriptor, flags)
                    && TryFollow(descriptor.Address, (int)descriptor.Length / DescriptorSize, 0, false, chain);
            if (!chain.TryAdd(descriptor.Address, descriptor.Length, (flags & Write) != 0)) return false;
            if ((flags & Next) == 0) return true;
        }
        return false;
    }
}
