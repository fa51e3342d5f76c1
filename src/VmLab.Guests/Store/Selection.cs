using System.Text.Json.Serialization;
using VmLab.Guests.Packages;

namespace VmLab.Guests.Store;

/// <summary>Which packages a guest is made of.</summary>
/// <param name="Kernel">The kernel's package, and those of its modules where they are apart.</param>
/// <param name="Others">What is unpacked into the root.</param>
sealed record Selection(IReadOnlyList<PackageRecord> Kernel, PackageRecord Busybox, IReadOnlyList<PackageRecord> Others)
{
    [JsonIgnore]
    public IEnumerable<PackageRecord> All => [.. Kernel, Busybox, .. Others];
}
