namespace VmLab.Tidy.Tests;

public sealed class TopLevelTests
{
    static readonly string[] s_known =
    [
        "src", "labs", "scripts", "tests", "Lab.sln", "nuget.config", "README.md", "LICENSE", "global.json",
        "Directory.Build.props", "Directory.Packages.props",
    ];

    [Test]
    public void The_top_level_holds_what_it_should_and_nothing_else() => Assert.That(
        Directory.GetFileSystemEntries(Repository.Root).Select(path => Path.GetFileName(path)!)
            .Where(name => !name.StartsWith('.') && name != "TestResults"),
        Is.SubsetOf(s_known));

    [Test]
    public void The_packages_file_names_no_registry() =>
        Assert.That(File.ReadAllText(Path.Combine(Repository.Root, "nuget.config")), Does.Not.Contain("://"));

    [Test]
    public void Every_lab_has_a_README() => Assert.That(Labs.Where(lab => !File.Exists(Path.Combine(lab, "README.md"))), Is.Empty);

    [Test]
    public void Every_lab_is_a_script_with_its_expected_output_or_a_test_project() => Assert.That(
        Labs.Where(lab => Directory.GetFiles(lab, "*.csproj").Length != 1
            && !(File.Exists(Path.Combine(lab, "lab.csx")) && File.Exists(Path.Combine(lab, "expected.txt")))), Is.Empty);

    static IEnumerable<string> Labs => Directory.GetDirectories(Path.Combine(Repository.Root, "labs"));
}
