using System.Text;

namespace VmLab.Guests.Initramfs;

/// <summary>The files of a guest's root, by path, to become an initramfs.</summary>
/// <remarks>
/// /bin, /sbin, /lib and /lib64 are links into /usr, as on an installed Debian; what packages put there lands behind
/// the links, whether they were built for merged directories or not. Later files replace earlier ones. Everything
/// belongs to root.
/// </remarks>
sealed class RootTree
{
    const uint Directory = 0x4000, File = 0x8000, Link = 0xA000, CharacterDevice = 0x2000;

    static readonly string[] s_merged = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

    readonly SortedDictionary<string, Node> _nodes = new(StringComparer.Ordinal);

    readonly record struct Node(uint Mode, byte[] Content, uint Major = 0, uint Minor = 0);

    public RootTree()
    {
        foreach (string name in s_merged[..3]) MergeIntoUsr(name);
        MergeIntoUsr("lib64");
    }

    /// <summary>Whether something lies at the path.</summary>
    public bool Contains(string path) => _nodes.ContainsKey(Normalise(path));

    /// <param name="permissions">The low twelve bits of a mode.</param>
    public void AddFile(string path, uint permissions, byte[] content) =>
        Add(path, new Node(File | permissions, content));

    public void AddFile(string path, uint permissions, string text) =>
        AddFile(path, permissions, Encoding.UTF8.GetBytes(text));

    public void AddLink(string path, string target) =>
        Add(path, new Node(Link | 0x1FF, Encoding.UTF8.GetBytes(target)));

    public void AddDevice(string path, uint permissions, uint major, uint minor) =>
        Add(path, new Node(CharacterDevice | permissions, [], major, minor));

    /// <summary>Adds a directory with its parents; one that is there keeps what is in it, and takes the
    /// permissions.</summary>
    public void AddDirectory(string path, uint permissions = 0x1ED)
    {
        string normal = Normalise(path);
        if (normal.Length == 0 || _nodes.TryGetValue(normal, out Node there) && (there.Mode & 0xF000) == Link) return;
        Add(normal, new Node(Directory | permissions, []));
    }

    public byte[] ToCpio()
    {
        var archive = new CpioArchive();
        foreach ((string path, Node node) in _nodes)
            archive.Add(path, node.Mode, node.Content, (node.Major, node.Minor));
        return archive.Finish();
    }

    void MergeIntoUsr(string name)
    {
        AddDirectory("usr/" + name);
        _nodes[name] = new Node(Link | 0x1FF, Encoding.UTF8.GetBytes("usr/" + name));
    }

    void Add(string path, Node node)
    {
        string normal = Normalise(path);
        if (normal.Length == 0) return;
        int slash = normal.LastIndexOf('/');
        if (slash > 0 && !_nodes.ContainsKey(normal[..slash])) AddDirectory(normal[..slash]);
        _nodes[normal] = node;
    }

    static string Normalise(string path)
    {
        string normal = path.StartsWith("./", StringComparison.Ordinal) ? path[2..] : path;
        normal = normal.Trim('/');
        string top = normal.Split('/', 2)[0];
        return normal.Length > top.Length && s_merged.Contains(top) ? "usr/" + normal : normal;
    }
}
