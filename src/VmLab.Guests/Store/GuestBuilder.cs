using System.Security.Cryptography;
using VmLab.Guests.Compression;
using VmLab.Guests.Initramfs;
using VmLab.Guests.Linux;
using VmLab.Guests.Packages;

namespace VmLab.Guests.Store;

/// <summary>Builds a Debian guest's kernel and initramfs from packages. Equal packages give equal bytes.</summary>
static class GuestBuilder
{
    const string KernelPrefix = "boot/vmlinuz-", ModulesFolder = "lib/modules/";

    // Of no use in a guest without pagers, translations, foreign character sets, service or package manager, and copied
    // at every boot.
    static readonly string[] s_leftOut =
    [
        "usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/lintian/",
        "usr/share/bug/",
        "usr/share/doc-base/", "usr/share/bash-completion/", "usr/share/menu/", "lib/systemd/", "usr/lib/systemd/",
        "lib/x86_64-linux-gnu/gconv/", "usr/lib/x86_64-linux-gnu/gconv/", "lib/udev/", "usr/lib/udev/",
    ];

    /// <summary>Changes whenever equal packages would give another guest.</summary>
    public static string Recipe { get; } = "1 " + Convert.ToHexStringLower(SHA256.HashData(GuestRoot.OwnFiles()))[..16];

    /// <param name="read">Reads a package's .deb.</param>
    /// <param name="folder">Where to write the guest's files.</param>
    public static StoredGuest Build(
        Selection selection, Func<PackageRecord, byte[]> read, string folder, CancellationToken cancellation)
    {
        List<PackagedFile> kernelFiles = [.. selection.Kernel.SelectMany(package => FilesOf(package, read))];
        PackagedFile image =
            kernelFiles.FirstOrDefault(file => file.Path.StartsWith(KernelPrefix, StringComparison.Ordinal))
            ?? throw new LabException($"The package {selection.Kernel[0].FileName} holds no kernel.");
        string release = image.Path[KernelPrefix.Length..];
        cancellation.ThrowIfCancellationRequested();

        byte[] initramfs = BuildInitramfs(selection, read, release, kernelFiles, cancellation);
        byte[] unpacked = KernelPayload.Unpack(BzImage.Parse(image.Content, image.Path).Payload, image.Path);
        return new StoredGuest(
            release, [.. selection.All.Select(package => $"{package.Name} {package.Version}")],
            StoredFile.Write(folder, "vmlinuz", image.Content), StoredFile.Write(folder, "vmlinux", unpacked),
            StoredFile.Write(folder, "initramfs", initramfs));
    }

    static byte[] BuildInitramfs(
        Selection selection, Func<PackageRecord, byte[]> read, string release, List<PackagedFile> kernelFiles,
        CancellationToken cancellation)
    {
        byte[] busybox = FilesOf(selection.Busybox, read)
            .FirstOrDefault(
                file => file is { Path: "bin/busybox" or "usr/bin/busybox", Kind: PackagedKind.File })?.Content
            ?? throw new LabException($"The package {selection.Busybox.FileName} holds no bin/busybox.");
        var root = new RootTree();
        GuestRoot.AddBase(root, busybox);
        GuestRoot.AddModules(root, release, GuestRoot.Modules, Modules(kernelFiles, release));
        foreach (PackageRecord package in selection.Others)
        {
            Install(root, FilesOf(package, read));
            cancellation.ThrowIfCancellationRequested();
        }
        GuestRoot.AddApplets(root, busybox);
        return root.ToCpio();
    }

    static IEnumerable<PackagedFile> FilesOf(PackageRecord package, Func<PackageRecord, byte[]> read) =>
        DebPackage.Parse(read(package), package.FileName).Files();

    static void Install(RootTree root, IEnumerable<PackagedFile> files)
    {
        var contents = new Dictionary<string, byte[]>();
        foreach (PackagedFile file in files)
        {
            if (s_leftOut.Any(prefix => (file.Path + "/").StartsWith(prefix, StringComparison.Ordinal))) continue;
            switch (file.Kind)
            {
                case PackagedKind.Directory: root.AddDirectory(file.Path, file.Mode); break;
                case PackagedKind.SymbolicLink: root.AddLink(file.Path, file.Target); break;
                case PackagedKind.File: root.AddFile(file.Path, file.Mode, contents[file.Path] = file.Content); break;
                // A hard link becomes a second copy: an initramfs is unpacked into memory either way, and packages
                // hardly have any.
                case PackagedKind.HardLink:
                    root.AddFile(file.Path, file.Mode, contents.GetValueOrDefault(file.Target, []));
                    break;
            }
        }
    }

    /// <summary>Finds modules by name, unpacking those asked for.</summary>
    static Func<string, KernelModule?> Modules(List<PackagedFile> files, string release)
    {
        var byName = new Dictionary<string, PackagedFile>();
        var opened = new Dictionary<string, KernelModule>();
        string prefix = ModulesFolder + release + "/";
        foreach (PackagedFile file in files)
            if (file.Path.Contains(prefix, StringComparison.Ordinal)
                && file.Path.Contains(".ko", StringComparison.Ordinal))
                byName.TryAdd(KernelModule.NameOf(file.Path), file);

        return name =>
        {
            if (opened.TryGetValue(name, out KernelModule? module)) return module;
            if (!byName.TryGetValue(name, out PackagedFile? file)) return null;
            string path = file.Path[(file.Path.IndexOf(prefix, StringComparison.Ordinal) + prefix.Length)..];
            byte[] content = Unpacker.IsPacked(file.Content) ? Unpacker.Unpack(file.Content, path) : file.Content;
            return opened[name] =
                new KernelModule(path[..(path.LastIndexOf(".ko", StringComparison.Ordinal) + 3)], content);
        };
    }
}
