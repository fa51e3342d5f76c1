namespace VmLab.Scripting;

/// <summary>What a script is compiled against, and where what was compiled is kept.</summary>
public sealed record ScriptHostOptions
{
    /// <summary>
    /// The packages that the tool itself carries: scripts bind to the very assemblies that are loaded.
    /// </summary>
    public required IReadOnlyList<CarriedPackage> Carried { get; init; }

    /// <summary>Namespaces that a script need not name; the defaults are those of <c>dotnet script</c>.</summary>
    public IReadOnlyList<string> Usings { get; init; } =
    [
        "System", "System.IO", "System.Collections.Generic", "System.Console", "System.Diagnostics", "System.Dynamic",
        "System.Linq", "System.Linq.Expressions", "System.Text", "System.Threading.Tasks",
    ];

    /// <summary>Folder of compiled scripts and restored packages.</summary>
    public string CacheFolder { get; init; } = DefaultCacheFolder();

    /// <summary><c>VMLAB_CACHE</c>, or <c>vmlab</c> in the user's cache folder.</summary>
    static string DefaultCacheFolder()
    {
        if (Environment.GetEnvironmentVariable("VMLAB_CACHE") is { Length: > 0 } own) return Path.GetFullPath(own);
        if (Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } shared) return Path.Combine(shared, "vmlab");
        return OperatingSystem.IsWindows()
            ? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "vmlab")
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache", "vmlab");
    }
}

/// <summary>A package that the tool carries, so that <c>#r "nuget: ..."</c> need not fetch it.</summary>
/// <param name="Name">As in <c>#r "nuget: NAME, VERSION"</c>.</param>
/// <param name="Version">The version carried; a script that asks for another is refused.</param>
/// <param name="Files">Paths of its assemblies.</param>
public sealed record CarriedPackage(string Name, string Version, IReadOnlyList<string> Files);
