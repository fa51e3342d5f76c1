using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>A virtio device: serves the chains of its queues one after the other, each at its time.</summary>
/// <remarks>
/// A queue is looked at when the driver notifies it, or when the device has something for it; its first chain is served,
/// and given back, once the time that it takes has passed. Nothing of it but that time is remembered: a chain under way
/// lies in guest memory. What breaks a rule breaks the device, and counts. Source: VIRTIO 1.2, §2.6, §2.9 (operation).
/// </remarks>
public abstract class VirtioDevice : ITimed
{
    readonly IClock _clock;
    readonly VirtioChain[] _chains;     // one a queue, for what is sent may at once bring an answer

    protected VirtioDevice(VirtioBoard board, VirtioIdentity identity)
    {
        _clock = board.Clock;
        _chains = [.. Enumerable.Range(0, identity.QueueCount).Select(_ => new VirtioChain(board.Memory))];
        Trouble = new DeviceTrouble(this, board.Clock);
        Transport = new VirtioPci(board, identity, this);
    }

    /// <summary>Registers, queues and interrupts.</summary>
    public VirtioPci Transport { get; }

    /// <summary>What is wrong with the device.</summary>
    public DeviceTrouble Trouble { get; }

    public ulong NextDeadline
    {
        get
        {
            if (Trouble.IsHung) return VirtqueueState.Never;
            ulong next = VirtqueueState.Never;
            foreach (ref readonly VirtqueueState queue in Transport.Queues) next = Math.Min(next, queue.ServeAt);
            return next;
        }
    }

    public void Advance()
    {
        for (int queue = 0; queue < Transport.Queues.Length; queue++)
            if (Transport.Queues[queue].ServeAt <= _clock.Now) ServeNext(queue);
    }

    /// <summary>Writes the device's own configuration as the driver reads it.</summary>
    /// <param name="config">All zeros.</param>
    protected internal abstract void FillConfig(Span<byte> config);

    /// <summary>The driver writes the device's own configuration; what may not be written stays.</summary>
    protected internal virtual void WriteConfig(int offset, int width, ulong value)
    {
    }

    /// <summary>Back to what the device was at power-on, but for what lies behind it.</summary>
    protected internal virtual void Reset()
    {
    }

    /// <summary>Whether the device would use a chain of the queue now: a receive queue needs something received.</summary>
    protected virtual bool CanServe(int queue) => true;

    /// <summary>How long a chain takes, in nanoseconds: at least 1.</summary>
    protected abstract ulong TimeOf(int queue, VirtioChain chain);

    /// <summary>Does what the chain asks for.</summary>
    /// <returns>Bytes written to the chain; <see langword="null"/> when it breaks the device's rules.</returns>
    protected abstract uint? Serve(int queue, VirtioChain chain);

    protected bool Has(ulong feature) => (Transport.Features & feature) != 0;

    /// <summary>The device has, or may have, something to do for a queue.</summary>
    protected internal void Notified(int queue)
    {
        ref VirtqueueState state = ref Transport.Queues[queue];
        if (Transport.IsLive && state is { IsEnabled: true, ServeAt: VirtqueueState.Never }) Plan(queue);
    }

    /// <summary>The driver is ready: what waited for it may go on.</summary>
    internal void Start()
    {
        for (int queue = 0; queue < Transport.Queues.Length; queue++) Notified(queue);
    }

    void Plan(int queue)
    {
        if (!CanServe(queue)) return;
        switch (Transport.Ring.Peek(Transport.Queues[queue], _chains[queue]))
        {
            case RingStatus.Ready: ServeAt(queue, _clock.Now + TimeOf(queue, _chains[queue])); break;
            case RingStatus.Empty: Transport.Ring.AskForNotification(Transport.Queues[queue]); break;
            default: Transport.Break(); break;
        }
    }

    // The driver may have changed its mind since the chain was first looked at: it counts as it is now.
    void ServeNext(int queue)
    {
        ServeAt(queue, VirtqueueState.Never);
        if (!Transport.IsLive) return;
        switch (Transport.Ring.Peek(Transport.Queues[queue], _chains[queue]))
        {
            case RingStatus.Ready when Serve(queue, _chains[queue]) is { } written: GiveBack(queue, written); break;
            case RingStatus.Empty: break;
            default: Transport.Break(); break;
        }
    }

    void GiveBack(int queue, uint written)
    {
        if (Transport.Ring.Complete(ref Transport.Queues[queue], _chains[queue], written)) Transport.InterruptFor(queue);
        Plan(queue);
    }

    void ServeAt(int queue, ulong time) => Transport.Queues[queue] = Transport.Queues[queue] with { ServeAt = time };
}
