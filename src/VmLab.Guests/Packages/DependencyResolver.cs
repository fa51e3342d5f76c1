namespace VmLab.Guests.Packages;

/// <summary>Finds all that named packages need, to be unpacked into a root that no package manager looks
/// after.</summary>
/// <remarks>
/// Depends and Pre-Depends, transitively; of alternatives one that is there already, or else the first that exists.
/// Left out is what only installation scripts need, since none is run.
/// </remarks>
static class DependencyResolver
{
    const int MostPackages = 1000;

    static readonly HashSet<string> s_installationOnly =
    [
        "adduser", "base-passwd", "ca-certificates-java", "cdebconf", "debconf", "debconf-2.0", "debianutils", "dpkg",
        "init-system-helpers", "install-info", "lsb-base", "passwd", "sysvinit-utils", "ucf",
    ];

    /// <param name="names">What the user named; these are never left out.</param>
    /// <param name="present">Names that the root has without packages.</param>
    /// <returns>The packages in the order of their names.</returns>
    /// <exception cref="LabException">A package is unknown to the archive.</exception>
    public static async Task<IReadOnlyList<PackageRecord>> ResolveAsync(
        IPackageSource source, IReadOnlyCollection<string> names, IReadOnlyCollection<string> present,
        CancellationToken cancellation)
    {
        var found = new SortedDictionary<string, PackageRecord>(StringComparer.Ordinal);
        var satisfied = new HashSet<string>(present.Concat(s_installationOnly).Except(names));
        var wanted = names.Select(name => new Requirement([name], NeededBy: null)).ToList();
        while (wanted.Count > 0)
        {
            IReadOnlyDictionary<string, PackageRecord> known =
                await LookUpAsync(source, wanted, cancellation).ConfigureAwait(false);
            var next = new List<Requirement>();
            foreach (Requirement requirement in wanted)
            {
                if (requirement.Alternatives.Any(satisfied.Contains)) continue;
                PackageRecord package =
                    await ChooseAsync(source, requirement, known, cancellation).ConfigureAwait(false);
                foreach (string alternative in requirement.Alternatives.Take(1)) satisfied.Add(alternative);
                satisfied.Add(package.Name);
                if (!found.TryAdd(package.Name, package)) continue;
                next.AddRange(package.Depends.Select(alternatives => new Requirement(alternatives, package.Name)));
            }
            if (found.Count > MostPackages)
                throw new LabException(
                    $"{string.Join(", ", names)} need more than {MostPackages} packages. "
                    + "Name fewer, or boot a whole Debian from a disk.");
            wanted = next;
        }
        return [.. found.Values];
    }

    readonly record struct Requirement(IReadOnlyList<string> Alternatives, string? NeededBy);

    static async Task<IReadOnlyDictionary<string, PackageRecord>> LookUpAsync(
        IPackageSource source, List<Requirement> wanted, CancellationToken cancellation)
    {
        string[] names =
            [.. wanted.SelectMany(requirement => requirement.Alternatives).Distinct().Order(StringComparer.Ordinal)];
        var known = new Dictionary<string, PackageRecord>();
        foreach (PackageRecord package in await source.FindAsync(names, cancellation).ConfigureAwait(false))
            known.TryAdd(package.Name, package);
        return known;
    }

    static async Task<PackageRecord> ChooseAsync(
        IPackageSource source, Requirement requirement, IReadOnlyDictionary<string, PackageRecord> known,
        CancellationToken cancellation)
    {
        foreach (string name in requirement.Alternatives)
            if (known.TryGetValue(name, out PackageRecord? package)) return package;

        foreach (string name in requirement.Alternatives)
        {
            IReadOnlyList<string> providers = await source.ProvidersAsync(name, cancellation).ConfigureAwait(false);
            if (providers.Count == 0) continue;
            IReadOnlyList<PackageRecord> packages =
                await source.FindAsync([providers[0]], cancellation).ConfigureAwait(false);
            if (packages.Count > 0) return packages[0];
        }
        string missing = string.Join(" or ", requirement.Alternatives);
        throw new LabException(requirement.NeededBy is null
            ? $"Debian has no package {missing}. Look the name up with `apt-cache search`; "
                + "after a change of sources run `apt-get update`."
            : $"The package {requirement.NeededBy} needs {missing}, which apt does not know. "
                + "Run `apt-get update`, and see apt's sources.");
    }
}
