using VmLab.Core;

namespace VmLab;

/// <summary>A host to be: a value. Machines run on it, and are migrated from one to another.</summary>
/// <param name="Name">No machine's, and no other host's.</param>
public sealed record HostSpec(string Name)
{
    /// <summary>What it has for the memory of its machines.</summary>
    public ByteSize MemorySize { get; private init; } = 64.GiB;

    /// <summary>What it has for the memory of its machines: a migration that would not fit is refused.</summary>
    public HostSpec Memory(ByteSize size) => this with { MemorySize = Require.InRange(size, 1.MiB, new ByteSize(1UL << 50)) };
}

/// <summary>A host of a fleet, by name; good in every lab of that fleet.</summary>
public sealed record HostRef(string Name)
{
    public override string ToString() => Name;
}
