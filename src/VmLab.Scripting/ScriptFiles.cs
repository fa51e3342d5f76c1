using System.Security.Cryptography;
using System.Text;

namespace VmLab.Scripting;

/// <summary>A script and all files that it loads, and the key that what is compiled from them is kept under.</summary>
/// <remarks>
/// Directives are found line by line, without a parser, so that an unchanged script starts without Roslyn. A line
/// within a comment or
/// a raw string that looks like a directive may count as one: that makes the key wider, never wrong.
/// </remarks>
sealed class ScriptFiles
{
    // Part of every key: another layout of what is kept takes another number.
    const string Layout = "vmlab script 1";

    const int MostFiles = 1000;

    readonly Dictionary<string, byte[]> _files = [];

    /// <exception cref="ScriptException">The script cannot be read.</exception>
    public ScriptFiles(string path)
    {
        Path = System.IO.Path.GetFullPath(path);
        if (!File.Exists(Path)) throw new ScriptException($"There is no script {path}.");
        Read(Path);
    }

    public string Path { get; }

    /// <summary>Paths of the script and of those it loads, itself first.</summary>
    public IEnumerable<string> Scripts => _files.Keys.Where(IsScript);

    /// <summary>The bytes of every file that the script follows from, by path.</summary>
    public IReadOnlyDictionary<string, byte[]> Files => _files;

    /// <summary>A hash of all that the compiled script follows from.</summary>
    public string Key(ScriptHostOptions options)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Add(hash, Layout);
        Add(hash, Environment.Version.ToString());
        foreach (string import in options.Usings) Add(hash, import);
        foreach (string file in options.Carried.SelectMany(package => package.Files)) AddStamp(hash, file);
        AddStamp(hash, typeof(ScriptFiles).Assembly.Location);
        foreach (var (path, bytes) in _files)
        {
            Add(hash, path);
            hash.AppendData(SHA256.HashData(bytes));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset())[..32];
    }

    void Read(string path)
    {
        if (_files.ContainsKey(path) || _files.Count == MostFiles) return;
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception trouble) when (trouble is IOException or UnauthorizedAccessException)
        {
            throw new ScriptException($"The script {path} cannot be read: {trouble.Message}", trouble);
        }
        _files[path] = bytes;
        if (!IsScript(path)) return;
        string folder = System.IO.Path.GetDirectoryName(path)!;
        foreach (string argument in Directives(Encoding.UTF8.GetString(bytes)))
        {
            string file = System.IO.Path.GetFullPath(argument, folder);
            if (File.Exists(file)) Read(file);
        }
    }

    static bool IsScript(string path) => !path.EndsWith(".dll", StringComparison.OrdinalIgnoreCase);

    // The quoted arguments of #load and #r; packages are named by the text itself, so they need no file here.
    static IEnumerable<string> Directives(string text)
    {
        foreach (string line in text.Split('\n'))
        {
            string directive = line.TrimStart();
            bool isDirective = directive.StartsWith("#load", StringComparison.Ordinal)
                || directive.StartsWith("#r", StringComparison.Ordinal);
            string[] parts = directive.Split('"');
            if (isDirective && parts.Length >= 3 && !parts[1].StartsWith("nuget:", StringComparison.OrdinalIgnoreCase)) yield return parts[1];
        }
    }

    // Size and time of an assembly stand for its content: reading them all would cost more than the rest of a start.
    static void AddStamp(IncrementalHash hash, string file)
    {
        var info = new FileInfo(file);
        Add(hash, $"{file}|{(info.Exists ? info.Length : -1)}|{info.LastWriteTimeUtc.Ticks}");
    }

    static void Add(IncrementalHash hash, string text)
    {
        hash.AppendData(Encoding.UTF8.GetBytes(text));
        hash.AppendData([0]);
    }
}
