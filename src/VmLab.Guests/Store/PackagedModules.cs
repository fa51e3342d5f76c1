using System.Text;
using VmLab.Guests.Compression;
using VmLab.Guests.Initramfs;
using VmLab.Guests.Packages;

namespace VmLab.Guests.Store;

/// <summary>The modules that a kernel's package holds, by name; those asked for are unpacked.</summary>
sealed class PackagedModules
{
    const string Folder = "lib/modules/", Ending = ".ko", BuiltIn = "modules.builtin";

    readonly string _prefix;
    readonly Dictionary<string, PackagedFile> _files = [];
    readonly Dictionary<string, KernelModule> _opened = [];
    readonly HashSet<string> _builtIn = [];

    /// <param name="files">All files of the kernel's packages.</param>
    /// <param name="release">As <c>uname -r</c> says it.</param>
    public PackagedModules(IEnumerable<PackagedFile> files, string release)
    {
        _prefix = Folder + release + "/";
        foreach (PackagedFile file in files)
        {
            if (!file.Path.Contains(_prefix, StringComparison.Ordinal)) continue;
            if (file.Path.Contains(Ending, StringComparison.Ordinal))
                _files.TryAdd(KernelModule.NameOf(file.Path), file);
            else if (Path.GetFileName(file.Path) == BuiltIn)
                _builtIn.UnionWith(Encoding.ASCII.GetString(file.Content).Split('\n').Select(KernelModule.NameOf));
        }
    }

    /// <summary>The names that are to be put into a guest: those of the list that are not part of the kernel
    /// itself.</summary>
    /// <exception cref="LabException">The kernel has no such module.</exception>
    public IEnumerable<string> Resolve(IReadOnlyList<string> names)
    {
        if (names.Contains(DebianKernel.AllModules)) return _files.Keys;
        return names.FirstOrDefault(name => !_files.ContainsKey(name) && !_builtIn.Contains(name)) is { } missing
            ? throw new LabException(
                $"Debian's kernel has no module {missing} ({_files.Count} others). Debian's other kernels may: "
                + "the generic one has most.")
            : names.Where(_files.ContainsKey);
    }

    /// <returns>The module of that name, or <see langword="null"/>.</returns>
    public KernelModule? Find(string name)
    {
        if (_opened.TryGetValue(name, out KernelModule? module)) return module;
        if (!_files.TryGetValue(name, out PackagedFile? file)) return null;
        string path = file.Path[(file.Path.IndexOf(_prefix, StringComparison.Ordinal) + _prefix.Length)..];
        byte[] content = Unpacker.IsPacked(file.Content) ? Unpacker.Unpack(file.Content, path) : file.Content;
        return _opened[name] =
            new KernelModule(path[..(path.LastIndexOf(Ending, StringComparison.Ordinal) + Ending.Length)], content);
    }
}
