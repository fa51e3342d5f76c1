using System.Collections.Immutable;
using VmLab.Core;

namespace VmLab;

/// <summary>What a network is made of.</summary>
public enum LinkKind
{
    /// <summary>A learning switch, and a cable from it to each machine.</summary>
    Lan,

    /// <summary>One cable between two machines.</summary>
    Wire,
}

/// <summary>A network to be: a value. It has machines of a fleet, each by a network card of its own.</summary>
/// <remarks>
/// A frame waits at the port that leads to its receiver until the frames before it are gone, takes its time at the rate,
/// and is there after the latency and up to the jitter more; jitter never makes a frame overtake another.
/// </remarks>
public sealed record LinkSpec
{
    /// <summary>The most machines on one network: its addresses are 10.0.N.1 and up, for the N-th network, from 0.</summary>
    public const int MostPorts = 250;

    const int LongestName = 63, MostQueued = 65_536;

    /// <exception cref="LabException">The name will not do.</exception>
    internal LinkSpec(string name, LinkKind kind, int index, ImmutableArray<LinkPort> ports)
    {
        if (name.Length is 0 or > LongestName || !name.All(c => char.IsAsciiLetterOrDigit(c) || c == '-'))
            throw new LabException($"\"{name}\" is no name for a network: use 1 to {LongestName} letters, digits and hyphens.");
        (Name, Kind, Index, Ports) = (name, kind, index, ports);
    }

    public string Name { get; }

    public LinkKind Kind { get; }

    /// <summary>Its place among the fleet's networks, from 0.</summary>
    public int Index { get; }

    /// <summary>The machines, in the order in which they were named.</summary>
    public ImmutableArray<LinkPort> Ports { get; }

    /// <summary>Whether it joins hosts, for migration, and not machines.</summary>
    public bool JoinsHosts { get; internal init; }

    /// <summary>What every frame takes at least.</summary>
    public TimeSpan LatencyTime { get; private init; } = 100.Microseconds;

    /// <summary>What a frame takes longer at most; how long is drawn from the seed.</summary>
    public TimeSpan JitterTime { get; private init; }

    /// <summary>How fast frames leave towards a machine.</summary>
    public BitRate BitRate { get; private init; } = 1.Gbps;

    /// <summary>How many frames wait for a machine's cable at most; the next one is dropped.</summary>
    public int QueueLength { get; private init; } = 1000;

    /// <summary>How long a frame is under way at least; machines run side by side for as long.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is not 10 microseconds to 10 seconds: the machines must have some
    /// time to run in before they meet.</exception>
    public LinkSpec Latency(TimeSpan time) => this with { LatencyTime = Require.InRange(time, 10.Microseconds, 10.Seconds) };

    /// <exception cref="ArgumentOutOfRangeException">It is not 0 to 10 seconds.</exception>
    public LinkSpec Jitter(TimeSpan most) => this with { JitterTime = Require.InRange(most, TimeSpan.Zero, 10.Seconds) };

    public LinkSpec Rate(BitRate rate) => this with { BitRate = rate };

    /// <param name="frames">1 to 65,536.</param>
    public LinkSpec Queue(int frames) => this with { QueueLength = Require.InRange(frames, 1, MostQueued) };

    // An array is equal to itself alone.
    public bool Equals(LinkSpec? other) =>
        other is not null && (Name, Kind, Index, JoinsHosts) == (other.Name, other.Kind, other.Index, other.JoinsHosts)
        && Ports.SequenceEqual(other.Ports)
        && (LatencyTime, JitterTime, BitRate, QueueLength) == (other.LatencyTime, other.JitterTime, other.BitRate, other.QueueLength);

    public override int GetHashCode() => HashCode.Combine(Name, Kind, Index, LatencyTime, JitterTime, BitRate, QueueLength);
}

/// <summary>A machine's place on a network, or a host's.</summary>
/// <param name="Card">Of the network card that it has for this network.</param>
/// <param name="Address">What the network's DHCP server gives to the machine.</param>
public sealed record LinkPort(string Machine, MacAddress Card, Ipv4Address Address);

/// <summary>A network of a fleet, by name; good in every lab of that fleet.</summary>
public sealed record LinkRef(string Name)
{
    public override string ToString() => Name;
}
