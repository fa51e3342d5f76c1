using System.Reflection;
using System.Runtime.Loader;

namespace VmLab.Scripting;

/// <summary>A script as an assembly, ready to run without Roslyn.</summary>
/// <param name="path">Of the assembly; its symbols lie beside it, so that stack traces name the script's own
/// lines.</param>
/// <param name="probes">Paths of assemblies, beside the tool's own, that it needs.</param>
public sealed class CompiledScript(string path, IReadOnlyList<string> probes)
{
    /// <summary>Name of the class that Roslyn makes of a script, and of the method that starts it.</summary>
    internal const string ClassName = "Script", FactoryName = "<Factory>";

    public string Path => path;

    /// <summary>Runs the script on the calling thread's pump.</summary>
    /// <returns>What the script returns, <see langword="null"/> if nothing.</returns>
    public Task<object?> RunAsync(ScriptGlobals globals)
    {
        Assembly assembly = new Context(probes).LoadFromAssemblyPath(path);
        var start = assembly.GetType(ClassName, throwOnError: true)!
            .GetMethod(FactoryName, BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic)!
            .CreateDelegate<Func<object?[], Task<object?>>>();
        return start([globals, null]);
    }

    // Finds the script's packages; all else, the tool's assemblies above all, comes from where the tool has it.
    sealed class Context(IReadOnlyList<string> probes) : AssemblyLoadContext("vmlab script")
    {
        protected override Assembly? Load(AssemblyName assemblyName) =>
            probes.FirstOrDefault(probe => System.IO.Path.GetFileNameWithoutExtension(probe) == assemblyName.Name) is { } found
                ? LoadFromAssemblyPath(found)
                : null;
    }
}
