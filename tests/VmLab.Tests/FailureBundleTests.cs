namespace VmLab.Tests;

/// <summary>How many bundles of failures are kept.</summary>
public sealed class FailureBundleTests
{
    const int Size = 100;

    string _folder = "";

    [SetUp]
    public void MakeFolder()
    {
        _folder = Directory.CreateTempSubdirectory("vmlab-bundles").FullName;
        foreach (int day in Enumerable.Range(1, 5))
        {
            string path = Path.Combine(_folder, $"{day}.vmlab.zip");
            File.WriteAllBytes(path, new byte[Size]);
            File.SetLastWriteTimeUtc(path, new DateTime(2026, 1, day));
        }
    }

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [TestCase(50, 10 * Size, "1 2 3 4 5")]
    [TestCase(3, 10 * Size, "3 4 5")]
    [TestCase(50, 2 * Size, "3 4 5")]
    [TestCase(50, 2 * Size - 1, "4 5")]
    [TestCase(50, 0, "5")]
    public void The_oldest_go_first_and_the_latest_stays(int mostKept, long mostBytes, string kept)
    {
        FailureBundle.DropOldest(_folder, mostKept, mostBytes);

        Assert.That(string.Join(' ', Directory.GetFiles(_folder).Select(path => Path.GetFileName(path)[..1]).Order()), Is.EqualTo(kept));
    }
}
