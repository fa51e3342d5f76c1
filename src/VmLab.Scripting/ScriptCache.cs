namespace VmLab.Scripting;

/// <summary>
/// Compiled scripts by key, each in a folder of its own: assembly, symbols, and where its packages lie.
/// </summary>
/// <remarks>A folder appears whole, by one rename, so that runs side by side never see half of one.</remarks>
sealed class ScriptCache(string folder)
{
    const int MostScripts = 200;
    const string AssemblyFile = "script.dll", ProbeFile = "assemblies.txt";

    public const string SymbolFile = "script.pdb";

    readonly string _folder = Path.Combine(folder, "scripts");

    /// <summary>The script compiled earlier under this key, if all of it is still there.</summary>
    public CompiledScript? Find(string key)
    {
        string entry = Path.Combine(_folder, key);
        if (!File.Exists(Path.Combine(entry, AssemblyFile)) || !File.Exists(Path.Combine(entry, ProbeFile))) return null;
        string[] probes = File.ReadAllLines(Path.Combine(entry, ProbeFile));
        return Array.TrueForAll(probes, File.Exists) ? new CompiledScript(Path.Combine(entry, AssemblyFile), probes) : null;
    }

    /// <summary>Keeps a compiled script.</summary>
    /// <param name="probes">Paths of assemblies, beside the tool's own, that the script needs when it runs.</param>
    public CompiledScript Add(string key, byte[] assembly, byte[] symbols, IReadOnlyList<string> probes)
    {
        string entry = Path.Combine(_folder, key), draft = Path.Combine(_folder, $"{key}.{Environment.ProcessId}");
        Directory.CreateDirectory(draft);
        File.WriteAllBytes(Path.Combine(draft, AssemblyFile), assembly);
        File.WriteAllBytes(Path.Combine(draft, SymbolFile), symbols);
        File.WriteAllLines(Path.Combine(draft, ProbeFile), probes);
        try
        {
            if (Directory.Exists(entry)) Directory.Delete(entry, recursive: true);
            Directory.Move(draft, entry);
        }
        catch (IOException) when (Directory.Exists(entry))
        {
            Directory.Delete(draft, recursive: true);   // another run was faster, and its bytes are as good
        }
        DropOldest();
        return new CompiledScript(Path.Combine(entry, AssemblyFile), probes);
    }

    void DropOldest()
    {
        DirectoryInfo[] entries = new DirectoryInfo(_folder).GetDirectories();
        foreach (DirectoryInfo entry in entries.OrderByDescending(entry => entry.LastWriteTimeUtc).Skip(MostScripts))
        {
            try
            {
                entry.Delete(recursive: true);
            }
            catch (DirectoryNotFoundException)
            {
                // Another run has dropped it.
            }
        }
    }
}
