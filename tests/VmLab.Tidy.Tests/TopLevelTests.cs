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
    public void Every_lab_has_a_README_and_its_expected_output() => Assert.That(
        Directory.GetDirectories(Path.Combine(Repository.Root, "labs"))
            .SelectMany(lab => new[] { "lab.csx", "README.md", "expected.txt" }.Select(file => Path.Combine(lab, file)))
            .Where(file => !File.Exists(file)), Is.Empty);
}
