using System.Xml.Linq;

namespace VmLab.Tidy.Tests;

/// <summary>The repository as files: what the tests of its shape look at.</summary>
static class Repository
{
    public static string Root { get; } = FindRoot();

    public static IEnumerable<string> Projects =>
        Directory.GetDirectories(Path.Combine(Root, "src")).Select(path => Path.GetFileName(path)!).Order();

    /// <summary>All C# files of src and tests, by path from the root.</summary>
    public static IEnumerable<string> CodeFiles =>
        new[] { "src", "tests" }.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(Root, folder), "*.cs", SearchOption.AllDirectories))
            .Select(path => Path.GetRelativePath(Root, path).Replace('\\', '/'))
            .Where(path => !path.Contains("/obj/") && !path.Contains("/bin/")).Order();

    public static IEnumerable<string> SourceFiles => CodeFiles.Where(path => path.StartsWith("src/"));

    public static string[] Lines(string file) => File.ReadAllLines(Path.Combine(Root, file));

    public static IEnumerable<string> ReferencesOf(string project) =>
        XDocument.Load(Path.Combine(Root, "src", project, $"{project}.csproj"))
            .Descendants("ProjectReference")
            .Select(reference => Path.GetFileNameWithoutExtension(reference.Attribute("Include")!.Value.Replace('\\', '/')));

    static string FindRoot()
    {
        string? folder = TestContext.CurrentContext.TestDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Lab.sln"))) folder = Path.GetDirectoryName(folder);
        return folder ?? throw new DirectoryNotFoundException("There is no Lab.sln above the tests.");
    }
}
