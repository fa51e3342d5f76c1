namespace VmLab.Guests.Packages;

/// <summary>Where packages come from: Debian's archive through apt, or a test's own.</summary>
public interface IPackageSource
{
    /// <summary>Looks packages up. Names that the archive has no package for are left out.</summary>
    /// <exception cref="LabException">The source does not work here: why, and what to do.</exception>
    Task<IReadOnlyList<PackageRecord>> FindAsync(IReadOnlyCollection<string> names, CancellationToken cancellation);

    /// <summary>Names of packages that provide a virtual one, best first.</summary>
    Task<IReadOnlyList<string>> ProvidersAsync(string name, CancellationToken cancellation);

    /// <summary>Brings the lists up to date, where this process may; otherwise says no.</summary>
    Task<bool> TryUpdateAsync(CancellationToken cancellation);

    /// <summary>Downloads packages to a folder, each under its <see cref="PackageRecord.FileName"/>.</summary>
    /// <exception cref="PackageUnavailableException">One could not be had: why, and what to do.</exception>
    Task DownloadAsync(IReadOnlyList<PackageRecord> packages, string folder, CancellationToken cancellation);
}
