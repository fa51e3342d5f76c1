using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>A virtio entropy device: fills buffers from a seeded stream.</summary>
/// <remarks>Source: VIRTIO 1.2, §5.4.</remarks>
public sealed class VirtioEntropy(VirtioBoard board, Rng random)
    : VirtioDevice(board, new VirtioIdentity(DeviceType, PciClass, QueueCount: 1, Features: 0, ConfigSize: 0)),
        ISnapshot<VirtioEntropy.State>
{
    /// <param name="Random">What the next bytes follow from.</param>
    [Schema("virtio-entropy", version: 1)]
    public readonly record struct State(VirtioPci.State Transport, Rng Random);

    /// <summary>The most bytes that one buffer gets.</summary>
    public const int MostBytes = 4096;

    const ushort DeviceType = 4;
    const uint PciClass = 0x00FF00;

    static readonly ServiceRate s_rate = new(1_000, 100_000_000);

    Rng _random = random;

    public State Save() => new(Transport.Save(), _random);

    public void Restore(State state)
    {
        Transport.Restore(state.Transport);
        _random = state.Random;
    }

    protected internal override void FillConfig(Span<byte> config)
    {
    }

    protected override ulong TimeOf(int queue, VirtioChain chain) => s_rate.TimeOf(Math.Min(chain.Writable, MostBytes));

    protected override uint? Serve(int queue, VirtioChain chain)
    {
        if (chain.Writable == 0) return null;
        uint length = Math.Min(chain.Writable, MostBytes);
        Span<byte> bytes = stackalloc byte[8];
        for (uint done = 0; done < length; done += 8)
        {
            BitConverter.TryWriteBytes(bytes, _random.Next());
            chain.Write(done, bytes[..(int)Math.Min(8, length - done)]);
        }
        return length;
    }
}
