using System.Collections.Immutable;
using VmLab.Core;
using VmLab.X86;

namespace VmLab.Machines.Migrating;

/// <summary>The machine that is to come, for the destination to look at before anything is copied.</summary>
/// <param name="Protocol">Version of the protocol and of the machine model.</param>
/// <param name="Processor">Hash of what the processor tells of itself by CPUID.</param>
/// <param name="Luggage">What those who keep the machine tell each other beside.</param>
[Schema("migration-offer", version: 1)]
public sealed record MigrationOffer(
    int Protocol, string Name, ByteSize Memory, ImmutableArray<DeviceSpec> Devices, ulong Processor, ImmutableArray<byte> Luggage)
{
    /// <summary>What this VmLab speaks.</summary>
    public const int ProtocolVersion = 1;

    /// <summary>What the processors of this VmLab can do.</summary>
    public static ulong OwnProcessor { get; } = HashProcessor();

    /// <summary>Why no machine of this VmLab can be this one; <see langword="null"/> where one can.</summary>
    public string? WhyForeign => Protocol != ProtocolVersion
        ? $"it comes by version {Protocol} of the protocol, and here version {ProtocolVersion} is spoken"
        : Processor != OwnProcessor ? "its processor has other features than those here"
        : null;

    internal static MigrationOffer Of(MachineConfig config, ByteSize memory, ImmutableArray<byte> luggage) => new(
        ProtocolVersion, config.Name, memory,
        [.. config.Devices.Select(device => device is DiskSpec disk ? disk with { Content = null, Faults = [] } : device)],
        OwnProcessor, luggage);

    static ulong HashProcessor()
    {
        const uint Leaves = 0x18, Subleaves = 4, Extended = 0x8000_0000, Hypervisor = 0x4000_0000;
        var hash = new StateHash();
        foreach (uint first in (ReadOnlySpan<uint>)[0, Hypervisor, Extended])
            for (uint leaf = first; leaf < first + Leaves; leaf++)
                for (uint subleaf = 0; subleaf < Subleaves; subleaf++)
                {
                    var (eax, ebx, ecx, edx) = Cpuid.Leaf(leaf, subleaf, apicId: 0);
                    hash.Add((ulong)eax << 32 | ebx).Add((ulong)ecx << 32 | edx);
                }
        return hash.Value;
    }
}
