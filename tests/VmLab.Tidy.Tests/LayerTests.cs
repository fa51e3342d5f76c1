namespace VmLab.Tidy.Tests;

/// <summary>
/// References point down only: Core, then X86, Devices and Guests, then Machines, and so on up to the tool.
/// </summary>
public sealed class LayerTests
{
    static readonly string[] s_engine = ["VmLab.Core", "VmLab.X86", "VmLab.Devices", "VmLab.Guests"];
    static readonly string[] s_machines = [.. s_engine, "VmLab.Machines"];
    static readonly string[] s_lab = [.. s_machines, "VmLab.Introspection"];

    static readonly Dictionary<string, string[]> s_mayReference = new()
    {
        ["VmLab.Core"] = [],
        ["VmLab.X86"] = ["VmLab.Core"],
        ["VmLab.Devices"] = ["VmLab.Core"],
        ["VmLab.Guests"] = ["VmLab.Core"],
        ["VmLab.Machines"] = s_engine,
        ["VmLab.Introspection"] = s_machines,
        ["VmLab"] = s_lab,
        ["VmLab.Testing"] = [.. s_lab, "VmLab"],
        ["VmLab.Scripting"] = [.. s_lab, "VmLab"],
        ["VmLab.Hosts"] = [.. s_lab, "VmLab"],
        ["VmLab.Cli"] = [.. s_lab, "VmLab", "VmLab.Testing", "VmLab.Scripting", "VmLab.Hosts"],
    };

    [TestCaseSource(typeof(Repository), nameof(Repository.Projects))]
    public void A_project_references_only_the_layers_below(string project) =>
        Assert.That(Repository.ReferencesOf(project), Is.SubsetOf(s_mayReference[project]));
}
