using VmLab.Core;

namespace VmLab;

/// <summary>A machine to be: a value. Nothing runs until a lab runs its fleet.</summary>
public sealed record MachineSpec
{
    const int LongestName = 63;

    /// <param name="name">1 to 63 letters, digits and hyphens, as in a host name; a Debian guest takes it as its
    /// own.</param>
    /// <exception cref="LabException">The name is no host name.</exception>
    public MachineSpec(string name)
    {
        if (name.Length is 0 or > LongestName || !name.All(c => char.IsAsciiLetterOrDigit(c) || c == '-') || name[0] == '-')
            throw new LabException(
                $"\"{name}\" is no name for a machine: use 1 to {LongestName} letters, digits and hyphens, as in a host name.");
        Name = name;
    }

    public string Name { get; }

    /// <summary>What the machine boots; <see langword="null"/> until <see cref="Boot"/> says.</summary>
    public Guest? Guest { get; private init; }

    public ByteSize MemorySize { get; private init; } = 128.MiB;

    /// <summary>What the machine boots: one of <see cref="VmLab.Guest"/>'s, or a kind of your own.</summary>
    public MachineSpec Boot(Guest guest) => this with { Guest = guest };

    /// <exception cref="ArgumentOutOfRangeException"><paramref name="size"/> is not 1 MiB to 64 GiB.</exception>
    public MachineSpec Memory(ByteSize size) => this with { MemorySize = Require.InRange(size, 1.MiB, 64.GiB) };
}
