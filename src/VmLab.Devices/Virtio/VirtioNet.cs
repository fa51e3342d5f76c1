using System.Buffers.Binary;
using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>A virtio network card: one queue each way, and a wire behind it.</summary>
/// <remarks>
/// Simplified: no offloads, so frames are whole and their checksums are the guest's own; no control queue, so every
/// frame that comes is handed on, whatever its destination. Source: VIRTIO 1.2, §5.1.
/// </remarks>
public sealed class VirtioNet : VirtioDevice, ISnapshot<VirtioNet.State>
{
    /// <param name="Received">Frames that wait for the guest, oldest first.</param>
    [Schema("virtio-net", version: 1)]
    public readonly record struct State(VirtioPci.State Transport, bool IsLinkUp, Values<Frame> Received);

    /// <summary>An Ethernet frame, without preamble and check sequence.</summary>
    public readonly record struct Frame(Values<byte> Bytes);

    /// <summary>The longest frame that is sent or received, in bytes.</summary>
    public const int LongestFrame = 65_550;

    /// <summary>How many frames wait for the guest at most.</summary>
    public const int MostWaiting = 256;

    const ulong MacFeature = 1 << 5, StatusFeature = 1 << 16;
    const int ReceiveQueue = 0, SendQueue = 1;
    const ushort DeviceType = 1;
    const uint PciClass = 0x020000;
    const int ConfigSize = 8, StatusOffset = MacAddress.Length, HeaderSize = 12, BufferCount = 10;

    readonly ServiceRate _rate;
    readonly Queue<Frame> _received = new();
    bool _isLinkUp = true;

    /// <param name="rate">Of each way.</param>
    public VirtioNet(VirtioBoard board, MacAddress address, ServiceRate rate)
        : base(board, new VirtioIdentity(DeviceType, PciClass, QueueCount: 2, MacFeature | StatusFeature, ConfigSize))
    {
        Address = address;
        _rate = rate;
    }

    /// <summary>Like a card of 10 Gbit/s.</summary>
    public static ServiceRate DefaultRate { get; } = new(2_000, 1_250_000_000);

    public MacAddress Address { get; }

    /// <summary>Takes each frame that the guest sends while the link is up, at the time at which it has left the card.</summary>
    public Action<ReadOnlyMemory<byte>>? Sent { get; set; }

    /// <summary>Whether a cable is plugged in, and leads somewhere.</summary>
    public bool IsLinkUp
    {
        get => _isLinkUp;
        set
        {
            if (value == _isLinkUp) return;
            _isLinkUp = value;
            Transport.ConfigChanged();
        }
    }

    /// <summary>Frames from the wire that the guest never got: no driver, no link, no room, or a buffer too small.</summary>
    public ulong Dropped { get; private set; }

    /// <summary>Takes a frame from the wire.</summary>
    /// <returns><see langword="false"/>: it was dropped.</returns>
    /// <exception cref="ArgumentOutOfRangeException">It is longer than <see cref="LongestFrame"/>.</exception>
    public bool Receive(ReadOnlySpan<byte> frame)
    {
        Require.InRange(frame.Length, 0, LongestFrame);
        if (!_isLinkUp || !Transport.IsLive || _received.Count >= MostWaiting)
        {
            Dropped++;
            return false;
        }
        _received.Enqueue(new Frame(Values.Of(frame)));
        Notified(ReceiveQueue);
        return true;
    }

    public State Save() => new(Transport.Save(), _isLinkUp, [.. _received]);

    public void Restore(State state)
    {
        Transport.Restore(state.Transport);
        _isLinkUp = state.IsLinkUp;
        _received.Clear();
        foreach (Frame frame in state.Received) _received.Enqueue(frame);
    }

    protected internal override void Reset() => _received.Clear();

    protected internal override void FillConfig(Span<byte> config)
    {
        Address.Write(config);
        config[StatusOffset] = _isLinkUp ? (byte)1 : (byte)0;
    }

    protected override bool CanServe(int queue) => queue == SendQueue || _received.Count > 0;

    protected override ulong TimeOf(int queue, VirtioChain chain) =>
        _rate.TimeOf(queue == SendQueue ? chain.Readable : (ulong)_received.Peek().Bytes.Count);

    protected override uint? Serve(int queue, VirtioChain chain) => queue == SendQueue ? Send(chain) : Deliver(chain);

    uint? Send(VirtioChain chain)
    {
        if (chain.Readable is < HeaderSize or > HeaderSize + LongestFrame) return null;
        byte[] frame = new byte[chain.Readable - HeaderSize];
        chain.Read(HeaderSize, frame);
        if (_isLinkUp) Sent?.Invoke(frame);
        return 0;
    }

    // The header says nothing but that the frame lies in one buffer.
    uint? Deliver(VirtioChain chain)
    {
        if (chain.Writable < HeaderSize) return null;
        ReadOnlySpan<byte> frame = _received.Dequeue().Bytes.Span;
        if (HeaderSize + frame.Length > chain.Writable)
        {
            Dropped++;
            frame = default;
        }
        Span<byte> header = stackalloc byte[HeaderSize];
        header.Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(header[BufferCount..], 1);
        chain.Write(0, header);
        chain.Write(HeaderSize, frame);
        return HeaderSize + (uint)frame.Length;
    }
}
