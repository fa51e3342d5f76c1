using System.Collections.Immutable;
using System.Globalization;
using VmLab.Core;
using VmLab.Networks;

namespace VmLab.Faults;

/// <summary>What can go wrong with a network.</summary>
/// <remarks>Each meets the frames that leave a machine while it lasts. The network's own host is on every side of a partition.</remarks>
public readonly record struct LinkFaults(string Link)
{
    /// <summary>Frames are lost.</summary>
    /// <param name="probability">Of each, 0 to 1.</param>
    public Fault Loss(double probability) => new LinkLoss(Link, Chance(probability));

    /// <summary>Frames take longer.</summary>
    /// <param name="time">0 to 1 hour.</param>
    public Fault Delay(TimeSpan time) => new LinkDelay(Link, Require.InRange(time, TimeSpan.Zero, TimeSpan.FromHours(1)));

    /// <summary>Frames arrive twice.</summary>
    /// <inheritdoc cref="Loss"/>
    public Fault Duplicate(double probability) => new LinkDuplicate(Link, Chance(probability));

    /// <summary>A bit of a frame flips, which its check sequence does not notice.</summary>
    /// <inheritdoc cref="Loss"/>
    public Fault Corrupt(double probability) => new LinkCorrupt(Link, Chance(probability));

    /// <summary>Frames are held back while later ones go by.</summary>
    /// <param name="by">For how long; 1 ms where it is left out.</param>
    /// <inheritdoc cref="Loss"/>
    public Fault Reorder(double probability, TimeSpan? by = null) => new LinkReorder(
        Link, Chance(probability), Require.InRange(by ?? 1.Milliseconds, 1.Microseconds, TimeSpan.FromHours(1)));

    /// <summary>Frames leave no faster than this towards each machine.</summary>
    public Fault Rate(BitRate rate) => new LinkSlow(Link, rate.BitsPerSecond);

    /// <summary>Nothing goes from one side to the other, either way. Who is on neither side reaches both.</summary>
    public Fault Partition(IEnumerable<VmRef> one, IEnumerable<VmRef> other) => new LinkPartition(Link, Names(one), Names(other));

    /// <summary>Nothing comes back: frames go from one side to the other only.</summary>
    public Fault OneWay(IEnumerable<VmRef> from, IEnumerable<VmRef> to) => new LinkPartition(Link, Names(from), Names(to), IsOneWay: true);

    /// <summary>Every cable is unplugged, and the machines notice.</summary>
    public Fault Down() => new LinkDown(Link);

    static double Chance(double probability) => Require.InRange(probability, 0, 1, nameof(probability));

    static ImmutableArray<string> Names(IEnumerable<VmRef> machines) => [.. machines.Select(machine => machine.Name)];
}

/// <summary>A fault of one network: from its strike to its end, it meddles with the frames.</summary>
public abstract record LinkFault(string Network) : Fault
{
    /// <summary>What it does, for the timeline.</summary>
    internal abstract string Effect { get; }

    /// <summary>Meddles with a frame on its way to one receiver.</summary>
    /// <param name="random">The network's own stream for faults.</param>
    /// <returns>Whether the frame is not what it was.</returns>
    internal abstract bool Apply(Passage passage, ref Rng random);

    /// <summary>The machines that it names.</summary>
    internal virtual IEnumerable<string> Machines => [];

    internal static string Percent(double probability) => string.Create(CultureInfo.InvariantCulture, $"{probability * 100:0.###} %");

    internal static string Milliseconds(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:0.######} ms");
}

/// <inheritdoc cref="LinkFaults.Loss"/>
public sealed record LinkLoss(string Network, double Chance) : LinkFault(Network)
{
    internal override string Effect => $"{Percent(Chance)} of the frames are lost";

    internal override bool Apply(Passage passage, ref Rng random) => passage.IsLost |= random.NextDouble() < Chance;
}

/// <inheritdoc cref="LinkFaults.Delay"/>
public sealed record LinkDelay(string Network, TimeSpan Time) : LinkFault(Network)
{
    internal override bool IsSound => base.IsSound && Time >= TimeSpan.Zero && Time <= TimeSpan.FromHours(1);

    internal override string Effect => $"frames take {Milliseconds(Time)} longer";

    internal override bool Apply(Passage passage, ref Rng random)
    {
        passage.Delay += (ulong)Time.TotalNanoseconds;
        return true;
    }
}

/// <inheritdoc cref="LinkFaults.Duplicate"/>
public sealed record LinkDuplicate(string Network, double Chance) : LinkFault(Network)
{
    internal override string Effect => $"{Percent(Chance)} of the frames arrive twice";

    internal override bool Apply(Passage passage, ref Rng random)
    {
        if (random.NextDouble() >= Chance) return false;
        passage.Copies++;
        return true;
    }
}

/// <inheritdoc cref="LinkFaults.Corrupt"/>
public sealed record LinkCorrupt(string Network, double Chance) : LinkFault(Network)
{
    internal override string Effect => $"a bit flips in {Percent(Chance)} of the frames";

    internal override bool Apply(Passage passage, ref Rng random)
    {
        if (random.NextDouble() >= Chance) return false;
        ulong bit = random.NextBelow((ulong)passage.Frame.Count * 8);
        int at = (int)(bit / 8);
        passage.Frame = passage.Frame.With(at, (byte)(passage.Frame[at] ^ 1 << (int)(bit % 8)));
        return true;
    }
}

/// <inheritdoc cref="LinkFaults.Reorder"/>
public sealed record LinkReorder(string Network, double Chance, TimeSpan By) : LinkFault(Network)
{
    internal override bool IsSound => base.IsSound && By >= TimeSpan.Zero && By <= TimeSpan.FromHours(1);

    internal override string Effect => $"{Percent(Chance)} of the frames are held back by {Milliseconds(By)}";

    internal override bool Apply(Passage passage, ref Rng random)
    {
        if (random.NextDouble() >= Chance) return false;
        passage.Overtaken += (ulong)By.TotalNanoseconds;
        return true;
    }
}

/// <inheritdoc cref="LinkFaults.Rate"/>
public sealed record LinkSlow(string Network, ulong BitsPerSecond) : LinkFault(Network)
{
    internal override string Effect => $"{new BitRate(BitsPerSecond)} at most";

    internal override bool Apply(Passage passage, ref Rng random)
    {
        var rate = new BitRate(BitsPerSecond);
        bool isSlower = rate.CompareTo(passage.Rate) < 0;
        if (isSlower) passage.Rate = rate;
        return isSlower;
    }
}

/// <inheritdoc cref="LinkFaults.Partition"/>
/// <param name="IsOneWay">Only what goes back, from the other side to the one, is lost.</param>
public sealed record LinkPartition(string Network, ImmutableArray<string> One, ImmutableArray<string> Other, bool IsOneWay = false)
    : LinkFault(Network)
{
    internal override string Effect =>
        $"{string.Join(", ", One)} {(IsOneWay ? "hears nothing of" : "is parted from")} {string.Join(", ", Other)}";

    internal override IEnumerable<string> Machines => One.Concat(Other);

    internal override bool Apply(Passage passage, ref Rng random)
    {
        if (passage.From is not { } from) return false;
        bool isBack = Other.Contains(from) && One.Contains(passage.To);
        bool isForth = One.Contains(from) && Other.Contains(passage.To);
        passage.IsLost |= isBack || isForth && !IsOneWay;
        return passage.IsLost;
    }

    // An array is equal to itself alone.
    public bool Equals(LinkPartition? other) =>
        base.Equals(other) && IsOneWay == other.IsOneWay && One.SequenceEqual(other.One) && Other.SequenceEqual(other.Other);

    public override int GetHashCode() => HashCode.Combine(base.GetHashCode(), IsOneWay, One.Length, Other.Length);
}

/// <inheritdoc cref="LinkFaults.Down"/>
public sealed record LinkDown(string Network) : LinkFault(Network)
{
    internal override string Effect => "the cables are unplugged";

    internal override bool Apply(Passage passage, ref Rng random) => passage.IsLost = true;
}
