using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Xml.Linq;

namespace VmLab.Scripting;

/// <summary>
/// Finds the assemblies of NuGet packages that the tool does not carry, by the SDK's own <c>dotnet restore</c>.
/// </summary>
sealed class PackageFolder(string cacheFolder)
{
    // Empty files that keep a repository around the cache folder from having a say.
    static readonly string[] s_shields = ["Directory.Build.props", "Directory.Build.targets", "Directory.Packages.props"];

    static readonly TimeSpan s_patience = TimeSpan.FromMinutes(5);

    /// <returns>Paths of the assemblies of the package and of all it needs.</returns>
    /// <exception cref="ScriptException">The package cannot be had; says why.</exception>
    public IReadOnlyList<string> Restore(string name, string version)
    {
        string id = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{name}/{version}")))[..16];
        string folder = Path.Combine(cacheFolder, "packages", id), project = Path.Combine(folder, "script.csproj");
        string assets = Path.Combine(folder, "obj", "project.assets.json");
        if (!File.Exists(assets) || Assemblies(assets).Any(file => !File.Exists(file)))
        {
            Directory.CreateDirectory(folder);
            Project(name, version).Save(project);
            foreach (string shield in s_shields) File.WriteAllText(Path.Combine(folder, shield), "<Project />");
            RunRestore(project, name, version);
        }
        return Assemblies(assets);
    }

    static XDocument Project(string name, string version) => new(new XElement("Project",
        new XAttribute("Sdk", "Microsoft.NET.Sdk"),
        new XElement("PropertyGroup", new XElement("TargetFramework", $"net{Environment.Version.Major}.0")),
        new XElement("ItemGroup", new XElement("PackageReference",
            new XAttribute("Include", name), new XAttribute("Version", version)))));

    static void RunRestore(string project, string name, string version)
    {
        string output;
        try
        {
            using Process restore = Process.Start(new ProcessStartInfo("dotnet", ["restore", project, "--verbosity", "quiet"])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                UseShellExecute = false,
                Environment = { ["DOTNET_CLI_UI_LANGUAGE"] = "en" },
            })!;
            Task<string> errors = restore.StandardError.ReadToEndAsync();
            Task<string> text = restore.StandardOutput.ReadToEndAsync();
            if (!restore.WaitForExit(s_patience)) restore.Kill(entireProcessTree: true);
            output = text.Result + errors.Result;
            if (restore.ExitCode == 0) return;
        }
        catch (System.ComponentModel.Win32Exception trouble)
        {
            throw new ScriptException(
                $"The package {name} {version} cannot be had: `dotnet` does not start ({trouble.Message}). Put the .NET SDK on the PATH.",
                trouble);
        }
        string[] reasons = [.. output.Split('\n').Where(line => line.Contains("error"))
            .Select(line => line[line.IndexOf("error")..].Trim()).Distinct()];
        throw new ScriptException(
            $"""
            The package {name} {version} cannot be had:
            {string.Join(Environment.NewLine, reasons.Length > 0 ? reasons : [output.Trim()])}
            Check name and version, and that `dotnet restore` can reach a source that has it.
            """);
    }

    static IReadOnlyList<string> Assemblies(string assets)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(assets));
        JsonElement root = document.RootElement;
        string[] folders = [.. root.GetProperty("packageFolders").EnumerateObject().Select(folder => folder.Name)];
        JsonElement libraries = root.GetProperty("libraries");
        JsonElement target = root.GetProperty("targets").EnumerateObject().First().Value;
        return [.. target.EnumerateObject()
            .Where(library => library.Value.TryGetProperty("runtime", out _))
            .SelectMany(library => library.Value.GetProperty("runtime").EnumerateObject()
                .Where(file => file.Name.EndsWith(".dll", StringComparison.OrdinalIgnoreCase))
                .Select(file => Locate(folders, libraries.GetProperty(library.Name).GetProperty("path").GetString()!, file.Name)))];
    }

    static string Locate(string[] folders, string library, string file) =>
        folders.Select(folder => Path.Combine(folder, library, file)).FirstOrDefault(File.Exists)
        ?? Path.Combine(folders[0], library, file);
}
