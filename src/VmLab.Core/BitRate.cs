using System.Globalization;

namespace VmLab;

/// <summary>How fast a link carries data, in bits per second; 0 is as fast as you like.</summary>
public readonly record struct BitRate(ulong BitsPerSecond) : IComparable<BitRate>
{
    const ulong Billion = 1_000_000_000;

    /// <summary>Data takes no time.</summary>
    public static BitRate Unlimited => default;

    public bool IsUnlimited => BitsPerSecond == 0;

    /// <summary>How long so many bytes take, in nanoseconds, rounded up.</summary>
    public ulong NanosecondsFor(ulong bytes) =>
        IsUnlimited ? 0 : (ulong)(((UInt128)bytes * 8 * Billion + BitsPerSecond - 1) / BitsPerSecond);

    /// <summary>The slower comes first.</summary>
    public int CompareTo(BitRate other) => (BitsPerSecond - 1).CompareTo(other.BitsPerSecond - 1);

    /// <summary>The rate in the largest unit that keeps it at one or more: <c>1 Gbit/s</c>.</summary>
    public override string ToString()
    {
        if (IsUnlimited) return "unlimited";
        string[] units = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"];
        int unit = 0;
        double rate = BitsPerSecond;
        while (rate >= 1000 && unit < units.Length - 1)
        {
            rate /= 1000;
            unit++;
        }
        return string.Create(CultureInfo.InvariantCulture, $"{rate:0.###} {units[unit]}");
    }
}
