namespace VmLab.Scripting;

/// <summary>Runs <c>.csx</c> files by the conventions of <c>dotnet script</c>, and keeps what it compiles.</summary>
public sealed class ScriptHost(ScriptHostOptions options)
{
    readonly ScriptCache _cache = new(options.CacheFolder);

    /// <summary>
    /// Makes a script ready to run: from the cache if neither it nor the tool has changed, else compiled.
    /// </summary>
    /// <exception cref="ScriptException">The script does not compile, or asks for a package that cannot be
    /// had.</exception>
    public CompiledScript Load(string path)
    {
        var files = new ScriptFiles(path);
        string key = files.Key(options);
        return _cache.Find(key) ?? Compile(files, key);
    }

    /// <summary>The bytes of every file that a script follows from, by path, its own first.</summary>
    /// <exception cref="ScriptException">The script cannot be read.</exception>
    public static IReadOnlyDictionary<string, byte[]> FilesOf(string path) => new ScriptFiles(path).Files;

    // A method of its own: Roslyn is loaded when this is first compiled, not before.
    CompiledScript Compile(ScriptFiles files, string key)
    {
        var (assembly, symbols, probes) = new ScriptCompiler(options).Compile(files, key);
        return _cache.Add(key, assembly, symbols, probes);
    }
}
