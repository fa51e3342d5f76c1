namespace VmLab.Cli.Tests;

/// <summary>The labs of the repository print what their expected.txt says.</summary>
public sealed class LabsTests
{
    [TestCase("traps")]
    [TestCase("quickstart")]
    [TestCase("snapshots")]
    [TestCase("clock-skew")]
    [TestCase("crash-consistency")]
    [TestCase("partition")]
    [TestCase("migration")]
    [TestCase("evacuation")]
    [TestCase("flapping-wire")]
    [TestCase("dirtying")]
    public void A_lab_prints_what_is_expected(string lab)
    {
        Ending ending = Vmlab.Run("run", $"labs/{lab}/lab.csx");

        Assert.That(ending.Code, Is.Zero, ending.Error);
        Assert.That(ending.Output, Is.EqualTo(File.ReadAllText(Path.Combine(Vmlab.Root, "labs", lab, "expected.txt"))));
    }
}
