using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>What a device finds in a ring.</summary>
public enum RingStatus
{
    /// <summary>No chain waits.</summary>
    Empty,

    /// <summary>A chain waits.</summary>
    Ready,

    /// <summary>The driver broke the rules: a loop, a wrong order, an address that is no RAM.</summary>
    Malformed,
}

/// <summary>How a virtqueue lies in memory: split or packed.</summary>
/// <param name="mayBeIndirect">Whether indirect descriptors were negotiated.</param>
/// <param name="hasEventIndex">Whether event indices were negotiated.</param>
abstract class VirtioRing(GuestMemory memory, bool mayBeIndirect, bool hasEventIndex)
{
    protected const ushort Next = 1, Write = 2, Indirect = 4;
    protected const int DescriptorSize = 16;

    protected readonly record struct Descriptor(ulong Address, uint Length, ushort Third, ushort Fourth);

    protected GuestMemory Memory => memory;
    protected bool MayBeIndirect => mayBeIndirect;
    protected bool HasEventIndex => hasEventIndex;

    /// <summary>Whether a queue that the driver enables has a size and areas that can be worked with.</summary>
    public abstract bool IsSound(in VirtqueueState queue);

    /// <summary>Looks at the next chain, and leaves it where it is.</summary>
    public abstract RingStatus Peek(in VirtqueueState queue, VirtioChain chain);

    /// <summary>Gives the next chain back to the driver.</summary>
    /// <param name="written">Bytes that the device wrote.</param>
    /// <returns>Whether the driver wants an interrupt for it.</returns>
    public abstract bool Complete(ref VirtqueueState queue, VirtioChain chain, uint written);

    /// <summary>Asks for a notification of the next chain that the driver makes available.</summary>
    public abstract void AskForNotification(in VirtqueueState queue);

    protected Descriptor ReadDescriptor(ulong table, int index)
    {
        Span<byte> bytes = stackalloc byte[DescriptorSize];
        memory.Read(table + (ulong)(DescriptorSize * index), bytes);
        return new Descriptor(
            BitConverter.ToUInt64(bytes), BitConverter.ToUInt32(bytes[8..]),
            BitConverter.ToUInt16(bytes[12..]), BitConverter.ToUInt16(bytes[14..]));
    }

    /// <summary>Whether a descriptor names an indirect table that may be looked at.</summary>
    protected bool IsTable(in Descriptor descriptor, ushort flags) =>
        mayBeIndirect && (flags & Next) == 0 && descriptor.Length % DescriptorSize == 0
        && descriptor.Length is > 0 and <= DescriptorSize * VirtioChain.MostSegments
        && memory.IsRam(descriptor.Address, descriptor.Length);

    protected bool IsArea(ulong address, int length, ulong alignment) =>
        address % alignment == 0 && memory.IsRam(address, (ulong)length);
}
