using System.Reflection;
using VmLab.Scripting;

namespace VmLab.Cli;

/// <summary>What the tool is, and what it carries for scripts.</summary>
static class Tool
{
    /// <summary>The version without the build's own suffix.</summary>
    public static string Version { get; } = typeof(Lab).Assembly
        .GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+')[0];

    public static ScriptHostOptions ScriptOptions { get; } = new()
    {
        Carried =
        [
            Package("VmLab", ["VmLab", "Polly.Core", .. Parts]),
            Package("VmLab.Testing", "VmLab.Testing", "nunit.framework"),
            .. Parts.Select(part => Package(part, part)),
            new CarriedPackage("NUnit", "5.0.0", [FileOf("nunit.framework")]),
            new CarriedPackage("Polly.Core", "8.9.1", [FileOf("Polly.Core")]),
            new CarriedPackage("Iced", "1.22.0", [FileOf("Iced")]),
        ],
    };

    static IEnumerable<string> Parts =>
        ["VmLab.Core", "VmLab.Guests", "VmLab.Machines", "VmLab.Introspection", "VmLab.X86", "VmLab.Devices"];

    static CarriedPackage Package(string name, params string[] files) => new(name, Version, [.. files.Select(FileOf)]);

    static string FileOf(string assembly) => Path.Combine(AppContext.BaseDirectory, $"{assembly}.dll");
}
