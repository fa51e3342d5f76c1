using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Text.RegularExpressions;
using VmLab.Guests.Initramfs;
using VmLab.Guests.Packages;
using VmLab.Guests.Store;

namespace VmLab.Guests;

/// <summary>Guests made of Debian packages: fetched once, checked, built, and kept in a folder for all labs of a
/// user.</summary>
/// <remarks>
/// The folder holds <c>selections</c> (which packages a kernel and a set of names came to), <c>packages</c> (.deb files as
/// downloaded) and <c>guests</c> (kernel, initramfs; by a hash of all that went in). What a selection says stays,
/// without network, until it is updated. Several processes may share the folder.
/// </remarks>
/// <param name="folder">Where to keep everything; made when needed.</param>
/// <param name="source">Where packages come from.</param>
public sealed partial class GuestStore(string folder, IPackageSource source)
{
    /// <summary>What every Debian guest has besides its kernel and busybox: Debian's own /bin/sh, and tools for
    /// ext4.</summary>
    /// <remarks>Busybox' shell runs its own applets before it looks for programs, and so would hide those that packages
    /// bring.</remarks>
    public static IReadOnlyList<string> DefaultPackages { get; } = ["dash", "e2fsprogs"];

    const string Busybox = "busybox-static";
    const string Selections = "selections", Packages = "packages", Guests = "guests", Description = "guest.json",
                 Temporary = "new-";

    public string Folder => folder;

    /// <summary>The user's own store: VMLAB_CACHE, or vmlab in the user's cache folder; packages come through
    /// apt.</summary>
    public static GuestStore OfUser() => new(DefaultFolder(), new AptSource());

    /// <summary>The guest of a set of packages: from the folder, or else fetched and built.</summary>
    /// <param name="packages">Names, besides <see cref="DefaultPackages"/>; what they depend on comes too.</param>
    /// <param name="kernel"><see cref="DebianKernel.Cloud"/> where it is <see langword="null"/>.</param>
    /// <param name="modules">Names of kernel modules for modprobe to find, besides the virtio drivers that are always
    /// there; <see cref="DebianKernel.AllModules"/> for all. What they need comes too.</param>
    /// <param name="update">Whether to ask for the packages' present versions, though the folder has some.</param>
    /// <param name="progress">Told what goes on, where it takes time.</param>
    /// <exception cref="LabException">No apt, no network, no such package or module, a corrupt download: what to
    /// do.</exception>
    public async Task<DebianGuest> DebianAsync(
        IEnumerable<string>? packages = null, DebianKernel? kernel = null, IEnumerable<string>? modules = null,
        bool update = false, IProgress<string>? progress = null, CancellationToken cancellation = default)
    {
        kernel ??= DebianKernel.Cloud;
        string[] names = [.. (packages ?? []).Concat(DefaultPackages).Distinct().Order(StringComparer.Ordinal)];
        foreach (string name in names.Append(kernel.Package))
            if (!PackageName().IsMatch(name)) throw new LabException($"\"{name}\" is no name of a Debian package.");
        string[] drivers =
            [.. (modules ?? []).Select(KernelModule.NameOf).Distinct().Order(StringComparer.Ordinal)];

        if (!update && ReadSelection(kernel, names) is { } selected && Open(selected, drivers) is { } ready)
            return ready;
        using StoreLock _ = await StoreLock.TakeAsync(folder, cancellation).ConfigureAwait(false);
        RemoveLeftovers();
        if (update || ReadSelection(kernel, names) is not { } selection)
        {
            progress?.Report($"asking apt for {string.Join(", ", [kernel.Package, Busybox, .. names])}");
            selection = await SelectAsync(kernel, names, progress, cancellation).ConfigureAwait(false);
        }
        return Open(selection, drivers)
            ?? await BuildAsync(selection, drivers, progress, cancellation).ConfigureAwait(false);
    }

    /// <summary>The guests in the folder.</summary>
    public IReadOnlyList<DebianGuest> List()
    {
        string guests = Path.Combine(folder, Guests);
        string[] folders = Directory.Exists(guests) ? Directory.GetDirectories(guests) : [];
        return [.. folders.Order(StringComparer.Ordinal).Select(OpenFolder).OfType<DebianGuest>()];
    }

    static string DefaultFolder()
    {
        if (Environment.GetEnvironmentVariable("VMLAB_CACHE") is { Length: > 0 } chosen)
            return Path.GetFullPath(chosen);
        string cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg
            ? xdg
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
        return Path.Combine(cache, "vmlab");
    }

    // The lists may be older than the archive, which keeps no old versions: then they are updated, once.
    async Task<Selection> SelectAsync(
        DebianKernel kernel, string[] names, IProgress<string>? progress, CancellationToken cancellation)
    {
        try
        {
            return await SelectAndDownloadAsync(kernel, names, progress, cancellation).ConfigureAwait(false);
        }
        catch (PackageUnavailableException)
        {
            progress?.Report("updating apt's package lists");
            if (!await source.TryUpdateAsync(cancellation).ConfigureAwait(false)) throw;
        }
        return await SelectAndDownloadAsync(kernel, names, progress, cancellation).ConfigureAwait(false);
    }

    async Task<Selection> SelectAndDownloadAsync(
        DebianKernel kernel, string[] names, IProgress<string>? progress, CancellationToken cancellation)
    {
        IReadOnlyList<PackageRecord> kernels = await FindKernelAsync(kernel, cancellation).ConfigureAwait(false);
        IReadOnlyList<PackageRecord> others =
            await DependencyResolver.ResolveAsync(source, [Busybox, .. names], [], cancellation).ConfigureAwait(false);
        var selection = new Selection(
            [.. kernels], others.Single(package => package.Name == Busybox),
            [.. others.Where(package => package.Name != Busybox)]);
        await DownloadAsync(selection, progress, cancellation).ConfigureAwait(false);
        Publish(
            SelectionPath(kernel, names),
            path => File.WriteAllText(path, JsonSerializer.Serialize(selection, StoreJson.Default.Selection)));
        return selection;
    }

    /// <summary>The package that a kernel's metapackage depends on, and what it keeps apart from it.</summary>
    async Task<IReadOnlyList<PackageRecord>> FindKernelAsync(DebianKernel kernel, CancellationToken cancellation)
    {
        var found = new List<PackageRecord>();
        string[] wanted = [kernel.Package];
        while (wanted.Length > 0 && found.Count < 8)
        {
            IReadOnlyList<PackageRecord> packages = await source.FindAsync(wanted, cancellation).ConfigureAwait(false);
            if (packages.Count == 0) break;
            found.AddRange(packages);
            wanted =
            [
                .. packages.SelectMany(package => package.Depends).Select(alternatives => alternatives[0])
                    .Where(name => KernelPackage().IsMatch(name) && found.TrueForAll(package => package.Name != name)),
            ];
        }
        return found.Count > 1
            ? found[1..]
            : throw new LabException(
                $"apt has no kernel for {kernel.Package}. Run `sudo apt-get update`, "
                + "and see that apt's sources name Debian's main archive.");
    }

    async Task DownloadAsync(Selection selection, IProgress<string>? progress, CancellationToken cancellation)
    {
        PackageRecord[] missing = [.. selection.All.Where(package => !IsWhole(PackagePath(package), package))];
        if (missing.Length == 0) return;
        progress?.Report(
            $"downloading {missing.Length} packages, {new ByteSize((ulong)missing.Sum(package => package.Size))}");
        string arrivals = TemporaryFolder();
        try
        {
            await source.DownloadAsync(missing, arrivals, cancellation).ConfigureAwait(false);
            Directory.CreateDirectory(Path.Combine(folder, Packages));
            foreach (PackageRecord package in missing)
            {
                string arrival = Path.Combine(arrivals, package.FileName);
                if (!IsWhole(arrival, package))
                    throw new LabException(
                        $"The download of {package.FileName} is corrupt: its checksum is not what apt's lists say. "
                        + "Try again.");
                File.Move(arrival, PackagePath(package), overwrite: true);
            }
        }
        finally
        {
            Directory.Delete(arrivals, recursive: true);
        }
    }

    async Task<DebianGuest> BuildAsync(
        Selection selection, string[] modules, IProgress<string>? progress, CancellationToken cancellation)
    {
        await DownloadAsync(selection, progress, cancellation).ConfigureAwait(false);
        progress?.Report($"building the guest from {selection.All.Count()} packages");
        string building = TemporaryFolder();
        try
        {
            StoredGuest stored = GuestBuilder.Build(
                selection, modules, package => File.ReadAllBytes(PackagePath(package)), building, cancellation);
            File.WriteAllText(
                Path.Combine(building, Description), JsonSerializer.Serialize(stored, StoreJson.Default.StoredGuest));
            string target = GuestPath(selection, modules);
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            if (Directory.Exists(target)) Directory.Delete(target, recursive: true);
            Directory.Move(building, target);
            return new DebianGuest(target, stored);
        }
        finally
        {
            if (Directory.Exists(building)) Directory.Delete(building, recursive: true);
        }
    }

    DebianGuest? Open(Selection selection, string[] modules) => OpenFolder(GuestPath(selection, modules));

    static DebianGuest? OpenFolder(string path) =>
        ReadJson(Path.Combine(path, Description), StoreJson.Default.StoredGuest) is { } stored ? new DebianGuest(path, stored) : null;

    Selection? ReadSelection(DebianKernel kernel, string[] names) =>
        ReadJson(SelectionPath(kernel, names), StoreJson.Default.Selection);

    // What cannot be read is as good as absent: it is made again.
    static T? ReadJson<T>(string path, JsonTypeInfo<T> type) where T : class
    {
        try
        {
            return File.Exists(path) ? JsonSerializer.Deserialize(File.ReadAllText(path), type) : null;
        }
        catch (Exception cause) when (cause is JsonException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    static bool IsWhole(string path, PackageRecord package)
    {
        if (!File.Exists(path)) return false;
        using FileStream file = File.OpenRead(path);
        return file.Length == package.Size && Convert.ToHexStringLower(SHA256.HashData(file)) == package.Sha256;
    }

    static void Publish(string path, Action<string> write)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        string unfinished = path + "." + Guid.NewGuid().ToString("N");
        write(unfinished);
        File.Move(unfinished, path, overwrite: true);
    }

    // Of processes that were ended while they held the lock.
    void RemoveLeftovers()
    {
        foreach (string leftover in Directory.GetDirectories(folder, Temporary + "*"))
            Directory.Delete(leftover, recursive: true);
    }

    string TemporaryFolder() =>
        Directory.CreateDirectory(Path.Combine(folder, Temporary + Guid.NewGuid().ToString("N"))).FullName;

    string PackagePath(PackageRecord package) => Path.Combine(folder, Packages, package.FileName);

    string SelectionPath(DebianKernel kernel, string[] names) =>
        Path.Combine(folder, Selections, HashOf([kernel.Package, .. names]) + ".json");

    string GuestPath(Selection selection, string[] modules) =>
        Path.Combine(
            folder, Guests,
            HashOf(
            [
                GuestBuilder.Recipe, .. selection.All.Select(package => package.FileName + package.Sha256), .. modules,
            ]));

    static string HashOf(IEnumerable<string> parts) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', parts))))[..24];

    [GeneratedRegex("^[a-z0-9][a-z0-9+.-]*$")]
    private static partial Regex PackageName();

    [GeneratedRegex("^linux-(image|modules|binary)-[0-9]")]
    private static partial Regex KernelPackage();
}
