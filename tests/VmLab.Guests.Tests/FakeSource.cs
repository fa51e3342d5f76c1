using VmLab.Guests.Packages;

namespace VmLab.Guests.Tests;

/// <summary>An archive of packages made for a test, which can be out of order in the ways that real ones are.</summary>
sealed class FakeSource : IPackageSource
{
    readonly Dictionary<string, TestPackages.Deb> _packages = [];
    readonly Dictionary<string, string[]> _providers = [];

    /// <summary>How often packages were downloaded, and asked for.</summary>
    public int Downloads { get; private set; }

    public int Questions { get; private set; }

    public int Updates { get; private set; }

    /// <summary>Refuses to download until its lists are updated.</summary>
    public bool IsStale { get; set; }

    /// <summary>Spoils what it downloads.</summary>
    public bool IsCorrupting { get; set; }

    /// <summary>Fails whatever it is asked.</summary>
    public bool IsOffline { get; set; }

    public void Add(string name, string depends) => Add(TestPackages.Make(name, "1.0", depends));

    public void Add(TestPackages.Deb package) => _packages[package.Name] = package;

    public void Provide(string name, params string[] providers) => _providers[name] = providers;

    public Task<IReadOnlyList<PackageRecord>> FindAsync(
        IReadOnlyCollection<string> names, CancellationToken cancellation)
    {
        Questions++;
        if (IsOffline) throw new PackageUnavailableException("offline");
        return Task.FromResult<IReadOnlyList<PackageRecord>>(
            [.. names.Where(_packages.ContainsKey).Select(name => _packages[name].Record)]);
    }

    public Task<IReadOnlyList<string>> ProvidersAsync(string name, CancellationToken cancellation) =>
        Task.FromResult<IReadOnlyList<string>>(_providers.GetValueOrDefault(name, []));

    public Task<bool> TryUpdateAsync(CancellationToken cancellation)
    {
        Updates++;
        IsStale = false;
        return Task.FromResult(!IsOffline);
    }

    public async Task DownloadAsync(
        IReadOnlyList<PackageRecord> packages, string folder, CancellationToken cancellation)
    {
        Downloads++;
        if (IsStale) throw new PackageUnavailableException("404");
        foreach (PackageRecord package in packages)
        {
            byte[] bytes = [.. _packages[package.Name].Bytes];
            if (IsCorrupting) bytes[^1] ^= 1;
            await File.WriteAllBytesAsync(Path.Combine(folder, package.FileName), bytes, cancellation);
        }
    }
}
