using VmLab.Core;

namespace VmLab.Networks;

/// <summary>A frame's way through a network to one receiver, and what faults make of it.</summary>
/// <param name="from">The sending machine; <see langword="null"/> is the network's own host.</param>
sealed class Passage(string? from, string to, Values<byte> frame, BitRate rate)
{
    public string? From => from;
    public string To => to;

    public Values<byte> Frame { get; set; } = frame;

    public bool IsLost { get; set; }

    /// <summary>How often it arrives.</summary>
    public int Copies { get; set; } = 1;

    /// <summary>What it takes longer, in nanoseconds, and all behind it with it.</summary>
    public ulong Delay { get; set; }

    /// <summary>How long it is held back, in nanoseconds, while later ones go by.</summary>
    public ulong Overtaken { get; set; }

    public BitRate Rate { get; set; } = rate;
}
