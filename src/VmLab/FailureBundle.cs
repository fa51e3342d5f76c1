using System.Collections.Immutable;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using VmLab.Guests;

namespace VmLab;

/// <summary>All that it takes to run a failed run again to the same failure: <c>vmlab replay FILE</c>.</summary>
/// <remarks>
/// A zip file: <c>bundle.json</c>, the script's own files, the moments from files that its labs grew from, and <c>report.html</c>, a
/// page for each lab, to be looked at.
/// </remarks>
public sealed record FailureBundle
{
    const string Description = "bundle.json", Scripts = "script/", Moments = "moments/", Extension = ".vmlab.zip";
    const int MostKept = 50;
    const long MostBytesKept = 2L << 30;

    // The oldest time that a zip file can tell, so that equal failures give equal bundles.
    static readonly DateTimeOffset s_noTime = new(1980, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>The version of VmLab that it failed under.</summary>
    public string VmLab { get; init; } = ThisVmLab;

    /// <summary>The version that runs here, to the build.</summary>
    public static string ThisVmLab { get; } =
        $"{typeof(Lab).Assembly.GetName().Version?.ToString(3)}-{typeof(Lab).Module.ModuleVersionId.ToString("N")[..8]}";

    /// <summary>Path of the script within the bundle's own files; <see langword="null"/> for a test.</summary>
    public string? Script { get; init; }

    /// <summary>What the script was given.</summary>
    public ImmutableArray<string> Arguments { get; init; } = [];

    /// <summary>Path of the assembly that the test is in; <see langword="null"/> for a script.</summary>
    public string? Assembly { get; init; }

    /// <summary>Full name of the test.</summary>
    public string? Test { get; init; }

    /// <summary>The seed that took the place of the fleets' own, where one did.</summary>
    public ulong? Seed { get; init; }

    /// <summary>What failed.</summary>
    public required string Failure { get; init; }

    public ImmutableArray<BundledLab> Labs { get; init; } = [];

    /// <summary>
    /// Writes the bundle into the folder of bundles in the user's store, where the fifty latest are kept, and no more than 2 GiB beside the
    /// last.
    /// </summary>
    /// <param name="name">What the file is called, beside a hash of what is in it.</param>
    /// <param name="scripts">The script's files, by their path within the bundle.</param>
    /// <param name="pump">Whose labs failed.</param>
    /// <returns>Path of the bundle.</returns>
    public static string Write(FailureBundle bundle, string name, IReadOnlyDictionary<string, byte[]> scripts, Pump pump)
    {
        byte[] description = JsonSerializer.SerializeToUtf8Bytes(
            bundle with { Labs = [.. pump.Labs.Select(BundledLab.Of)] }, BundleJson.Default.FailureBundle);
        string folder = Path.Combine(GuestStore.OfUser().Folder, "failures");
        string path = Path.Combine(folder, $"{FileNameOf(name)}-{Convert.ToHexStringLower(SHA256.HashData(description))[..8]}{Extension}");
        try
        {
            Directory.CreateDirectory(folder);
            using (var zip = new ZipArchive(File.Create(path + ".new"), ZipArchiveMode.Create))
            {
                Add(zip, Description, new MemoryStream(description));
                foreach (var (file, bytes) in scripts) Add(zip, Scripts + file, new MemoryStream(bytes));
                foreach (var (key, file) in MomentsOf(pump.Labs)) Add(zip, $"{Moments}{key}/{Path.GetFileName(file)}", File.OpenRead(file));
                foreach (var (number, lab) in pump.Labs.Index())
                {
                    RunOutcome? outcome = lab == pump.Labs[^1] ? RunOutcome.Failed(bundle.Failure) : null;   // earlier ones ended well
                    Add(zip, number == 0 ? "report.html" : $"report-{number + 1}.html", new MemoryStream(lab.Page(outcome)));
                }
            }
            File.Move(path + ".new", path, overwrite: true);
            DropOldest(folder, MostKept, MostBytesKept);
            return path;
        }
        catch (Exception cause) when (cause is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new LabException($"The bundle of the failure cannot be written to {path}: {cause.Message}", cause);
        }
    }

    /// <summary>Unpacks a bundle.</summary>
    /// <param name="folder">Gets the script's files and the moments.</param>
    /// <exception cref="LabException">The file is no bundle.</exception>
    public static FailureBundle Read(string path, string folder)
    {
        try
        {
            ZipFile.ExtractToDirectory(path, folder);   // which refuses a path that leads out of it
            byte[] description = File.ReadAllBytes(Path.Combine(folder, Description));
            FailureBundle? bundle = JsonSerializer.Deserialize(description, BundleJson.Default.FailureBundle);
            if (bundle is not null && bundle.Script is null != bundle.Test is null) return bundle;
        }
        catch (Exception cause) when (cause is IOException or UnauthorizedAccessException or InvalidDataException or JsonException)
        {
            throw new LabException($"{path} is no bundle of a failure that can be replayed: {cause.Message}", cause);
        }
        throw new LabException($"{path} is no bundle of a failure: it names no script and no test.");
    }

    /// <summary>Path of the script in a folder that the bundle was unpacked to.</summary>
    public string ScriptIn(string folder) => Path.Combine(folder, Scripts, Script!);

    /// <summary>Where the moments are in a folder that the bundle was unpacked to.</summary>
    public static string MomentsIn(string folder) => Path.Combine(folder, Moments);

    /// <summary>What the bundle knows a moment by that is loaded from a path, as the script has it.</summary>
    internal static string KeyOf(string path) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(path)))[..24];

    /// <summary>Deletes the oldest bundles of a folder; the latest stays, whatever its size.</summary>
    internal static void DropOldest(string folder, int mostKept, long mostBytes)
    {
        FileInfo[] bundles = [.. new DirectoryInfo(folder).GetFiles($"*{Extension}").OrderByDescending(file => file.LastWriteTimeUtc)];
        long bytes = 0;
        foreach (var (number, bundle) in bundles.Index().Skip(1))
        {
            bytes += bundle.Length;
            if (number >= mostKept || bytes > mostBytes) bundle.Delete();
        }
    }

    // With all that it takes to load them; a file that has changed since is of no use.
    static IEnumerable<(string Key, string File)> MomentsOf(IEnumerable<Lab> labs)
    {
        var files = new HashSet<(string Key, string File)>();
        foreach (Lab lab in labs)
            if (lab.GrownFrom is { BundledAs: { } key, Saved.Chain: var chain } && chain.All(saved => saved.IsThere))
                files.UnionWith(chain.Select(saved => (key, saved.Path)));
        return files;
    }

    static string FileNameOf(string name)
    {
        const int Longest = 80;
        string plain = string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' ? c : '-')).Trim('-');
        return plain.Length <= Longest ? plain : plain[^Longest..];
    }

    static void Add(ZipArchive zip, string name, Stream content)
    {
        ZipArchiveEntry entry = zip.CreateEntry(name, CompressionLevel.Fastest);
        entry.LastWriteTime = s_noTime;
        using (content)
        using (Stream stream = entry.Open()) content.CopyTo(stream);
    }
}

/// <summary>A lab of a run that failed.</summary>
/// <param name="Seed">Of the lab.</param>
/// <param name="Time">Guest time at which it stood.</param>
/// <param name="Moment">Name of the moment that it grew from.</param>
/// <param name="Faults">What was injected into it.</param>
/// <param name="Report">Where it stood, with the last lines of its consoles.</param>
/// <param name="Events">The last of its timeline.</param>
public sealed record BundledLab(
    string Fleet, ulong Seed, TimeSpan Time, string? Moment, FaultPlan Faults, string Report, ImmutableArray<string> Events)
{
    const int MostEvents = 200;

    internal static BundledLab Of(Lab lab) => new(
        lab.Fleet.Name, lab.Seed, lab.Now, lab.GrownFrom?.Name, new FaultPlan([.. lab.Injected]), lab.Report(),
        [.. lab.Timeline.TakeLast(MostEvents).Select(happened => happened.ToString())]);
}

[JsonSourceGenerationOptions(
    WriteIndented = true, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(FailureBundle))]
sealed partial class BundleJson : JsonSerializerContext;
