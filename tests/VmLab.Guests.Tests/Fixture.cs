namespace VmLab.Guests.Tests;

/// <summary>Files that lie beside the tests.</summary>
static class Fixture
{
    public static byte[] Bytes(string name) => File.ReadAllBytes(PathOf(name));

    public static string Text(string name) => File.ReadAllText(PathOf(name));

    static string PathOf(string name) => Path.Combine(TestContext.CurrentContext.TestDirectory, "Fixtures", name);
}
