using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace VmLab.Scripting;

/// <summary>Answers <c>#r</c>: packages that the tool carries, other packages, and files.</summary>
/// <remarks>
/// Roslyn takes one reference an answer, so what else a package has goes into <see cref="Packages"/>, which a compiler
/// asks for first.
/// </remarks>
sealed class ReferenceResolver(ScriptHostOptions options) : MetadataReferenceResolver
{
    const string Package = "nuget:";

    readonly SortedSet<string> _probes = [];

    /// <summary>Assemblies beside the tool's own that the script needs when it runs.</summary>
    public IReadOnlyList<string> Probes => [.. _probes];

    public override ImmutableArray<PortableExecutableReference> ResolveReference(
        string reference, string? baseFilePath, MetadataReferenceProperties properties)
    {
        if (reference.StartsWith(Package, StringComparison.OrdinalIgnoreCase))
            return [.. FilesOf(reference[Package.Length..].Split(',', '/')).Take(1).Select(Reference)];
        string path = Path.GetFullPath(reference, Path.GetDirectoryName(baseFilePath) ?? Environment.CurrentDirectory);
        if (!File.Exists(path)) return [];
        _probes.Add(path);
        return [Reference(path)];
    }

    /// <summary>The assemblies of all packages that a script file names.</summary>
    /// <exception cref="ScriptException">A package cannot be had.</exception>
    public IEnumerable<MetadataReference> Packages(CompilationUnitSyntax script) => script.GetReferenceDirectives()
        .Select(directive => directive.File.ValueText)
        .Where(reference => reference.StartsWith(Package, StringComparison.OrdinalIgnoreCase))
        .SelectMany(reference => FilesOf(reference[Package.Length..].Split(',', '/')))
        .Select(Reference);

    public override bool Equals(object? other) => ReferenceEquals(this, other);

    public override int GetHashCode() => 0;

    IReadOnlyList<string> FilesOf(string[] parts)
    {
        string name = parts[0].Trim(), version = parts.Length > 1 ? parts[1].Trim() : "*";
        CarriedPackage? carried = options.Carried.FirstOrDefault(
            package => package.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        if (carried is not null)
        {
            if (version != "*" && Core(version) != Core(carried.Version))
                throw new ScriptException(
                    $"The script asks for {name} {version}, and this tool carries {carried.Version}. "
                    + $"Write #r \"nuget: {name}, {Core(carried.Version)}\", or run the script with the tool of that version.");
            return carried.Files;
        }
        if (name.StartsWith("VmLab", StringComparison.OrdinalIgnoreCase))
            throw new ScriptException(
                $"This tool carries no package {name}; it carries {string.Join(", ", options.Carried.Select(package => package.Name))}.");
        IReadOnlyList<string> files = new PackageFolder(options.CacheFolder).Restore(name, version);
        _probes.UnionWith(files);
        return files;
    }

    static PortableExecutableReference Reference(string path) => MetadataReference.CreateFromFile(path);

    // 0.1.0 of 0.1.0-dev.12+abc: the suffix names the build, not the API.
    static string Core(string version) => version.Split('-', '+')[0];
}
