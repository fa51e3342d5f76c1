using System.Buffers.Binary;
using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>A virtio balloon: asks the guest for pages, and counts what it gave and took back.</summary>
/// <remarks>
/// Simplified: given pages keep their memory, for the guest may take them back unasked; no statistics, no reporting.
/// Source: VIRTIO 1.2, §5.5.
/// </remarks>
public sealed class VirtioBalloon(VirtioBoard board)
    : VirtioDevice(board, new VirtioIdentity(DeviceType, PciClass, QueueCount: 2, Features: 0, ConfigBytes)),
        ISnapshot<VirtioBalloon.State>
{
    /// <param name="Target">Pages that the guest is asked to give.</param>
    /// <param name="Actual">Pages that the guest says it has given.</param>
    /// <param name="Inflated">Pages that came through the queue, all told.</param>
    /// <param name="Deflated">Pages that went back through the queue, all told.</param>
    [Schema("virtio-balloon", version: 1)]
    public readonly record struct State(VirtioPci.State Transport, uint Target, uint Actual, ulong Inflated, ulong Deflated);

    const int InflateQueue = 0, ConfigBytes = 8, ActualOffset = 4, PageNumberSize = 4;
    const ushort DeviceType = 5;
    const uint PciClass = 0x00FF00;

    static readonly ServiceRate s_rate = new(1_000, 400_000_000);

    uint _target, _actual;

    /// <summary>Pages of 4 KiB that the guest is asked to give.</summary>
    public uint Target
    {
        get => _target;
        set
        {
            _target = value;
            Transport.ConfigChanged();
        }
    }

    /// <summary>Pages that the guest says it has given.</summary>
    public uint Actual => _actual;

    /// <summary>Pages that came through the queue, all told.</summary>
    public ulong Inflated { get; private set; }

    /// <summary>Pages that went back through the queue, all told.</summary>
    public ulong Deflated { get; private set; }

    public State Save() => new(Transport.Save(), _target, _actual, Inflated, Deflated);

    public void Restore(State state)
    {
        Transport.Restore(state.Transport);
        (_target, _actual, Inflated, Deflated) = (state.Target, state.Actual, state.Inflated, state.Deflated);
    }

    protected internal override void Reset() => _actual = 0;

    protected internal override void FillConfig(Span<byte> config)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(config, _target);
        BinaryPrimitives.WriteUInt32LittleEndian(config[ActualOffset..], _actual);
    }

    protected internal override void WriteConfig(int offset, int width, ulong value)
    {
        if ((offset, width) == (ActualOffset, 4)) _actual = (uint)value;
    }

    protected override ulong TimeOf(int queue, VirtioChain chain) => s_rate.TimeOf(chain.Readable);

    protected override uint? Serve(int queue, VirtioChain chain)
    {
        if (chain.Readable % PageNumberSize != 0) return null;
        uint pages = chain.Readable / PageNumberSize;
        if (queue == InflateQueue) Inflated += pages;
        else Deflated += pages;
        return 0;
    }
}
