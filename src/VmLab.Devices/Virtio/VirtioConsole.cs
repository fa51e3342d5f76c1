using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>A virtio console: one port, bytes both ways.</summary>
/// <remarks>Simplified: no size, no second port, no emergency write. Source: VIRTIO 1.2, §5.3.</remarks>
public sealed class VirtioConsole(VirtioBoard board)
    : VirtioDevice(board, new VirtioIdentity(DeviceType, PciClass, QueueCount: 2, Features: 0, ConfigBytes)),
        ISnapshot<VirtioConsole.State>
{
    /// <param name="Received">Bytes that wait for the guest, oldest first.</param>
    [Schema("virtio-console", version: 1)]
    public readonly record struct State(VirtioPci.State Transport, Values<byte> Received);

    /// <summary>How many bytes wait for the guest at most.</summary>
    public const int MostWaiting = 65_536;

    const int ReceiveQueue = 0, SendQueue = 1, ConfigBytes = 12, LongestPiece = 4096;
    const ushort DeviceType = 3;
    const uint PciClass = 0x078000;

    static readonly ServiceRate s_rate = new(1_000, 100_000_000);

    readonly Queue<byte> _received = new();

    /// <summary>Takes what the guest sends, piece by piece.</summary>
    public Action<ReadOnlyMemory<byte>>? Sent { get; set; }

    /// <summary>Takes bytes for the guest, as far as there is room.</summary>
    /// <returns>How many were taken.</returns>
    public int Receive(ReadOnlySpan<byte> bytes)
    {
        int count = Math.Min(bytes.Length, MostWaiting - _received.Count);
        foreach (byte value in bytes[..count]) _received.Enqueue(value);
        Notified(ReceiveQueue);
        return count;
    }

    public State Save() => new(Transport.Save(), [.. _received]);

    public void Restore(State state)
    {
        Transport.Restore(state.Transport);
        _received.Clear();
        foreach (byte value in state.Received) _received.Enqueue(value);
    }

    protected internal override void FillConfig(Span<byte> config)
    {
    }

    protected override bool CanServe(int queue) => queue == SendQueue || _received.Count > 0;

    protected override ulong TimeOf(int queue, VirtioChain chain) =>
        s_rate.TimeOf(queue == SendQueue ? chain.Readable : Math.Min(chain.Writable, (ulong)_received.Count));

    protected override uint? Serve(int queue, VirtioChain chain) => queue == SendQueue ? Send(chain) : Deliver(chain);

    uint? Send(VirtioChain chain)
    {
        for (uint done = 0; done < chain.Readable; done += LongestPiece)
        {
            byte[] bytes = new byte[Math.Min(LongestPiece, chain.Readable - done)];
            chain.Read(done, bytes);
            Sent?.Invoke(bytes);
        }
        return 0;
    }

    uint? Deliver(VirtioChain chain)
    {
        if (chain.Writable == 0) return null;
        byte[] bytes = new byte[Math.Min(chain.Writable, _received.Count)];
        for (int i = 0; i < bytes.Length; i++) bytes[i] = _received.Dequeue();
        chain.Write(0, bytes);
        return (uint)bytes.Length;
    }
}
