using System.Security.Cryptography;
using VmLab.Guests.Initramfs;
using VmLab.Guests.Linux;
using VmLab.Guests.Packages;

namespace VmLab.Guests.Store;

/// <summary>Builds a Debian guest's kernel and initramfs from packages. Equal packages give equal bytes.</summary>
static class GuestBuilder
{
    const string KernelPrefix = "boot/vmlinuz-";

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
    public static string Recipe { get; } = "2 " + Convert.ToHexStringLower(SHA256.HashData(GuestRoot.OwnFiles()))[..16];

    /// <param name="modules">Names of kernel modules to have besides those of every guest;
    /// <see cref="DebianKernel.AllModules"/> for all.</param>
    /// <param name="read">Reads a package's .deb.</param>
    /// <param name="folder">Where to write the guest's files.</param>
    public static StoredGuest Build(
        Selection selection, IReadOnlyList<string> modules, Func<PackageRecord, byte[]> read, string folder,
        CancellationToken cancellation)
    {
        List<PackagedFile> kernelFiles = [.. selection.Kernel.SelectMany(package => FilesOf(package, read))];
        PackagedFile image =
            kernelFiles.FirstOrDefault(file => file.Path.StartsWith(KernelPrefix, StringComparison.Ordinal))
            ?? throw new LabException($"The package {selection.Kernel[0].FileName} holds no kernel.");
        string release = image.Path[KernelPrefix.Length..];
        cancellation.ThrowIfCancellationRequested();

        var packaged = new PackagedModules(kernelFiles, release);
        string[] wanted = [.. GuestRoot.Modules, .. packaged.Resolve(modules)];
        byte[] initramfs = BuildInitramfs(
            selection, read, root => GuestRoot.AddModules(root, release, wanted, packaged.Find), cancellation);
        byte[] unpacked = KernelPayload.Unpack(BzImage.Parse(image.Content, image.Path).Payload, image.Path);
        return new StoredGuest(
            release, [.. selection.All.Select(package => $"{package.Name} {package.Version}")], modules,
            StoredFile.Write(folder, "vmlinuz", image.Content), StoredFile.Write(folder, "vmlinux", unpacked),
            StoredFile.Write(folder, "initramfs", initramfs));
    }

    static byte[] BuildInitramfs(
        Selection selection, Func<PackageRecord, byte[]> read, Action<RootTree> addModules,
        CancellationToken cancellation)
    {
        byte[] busybox = FilesOf(selection.Busybox, read)
            .FirstOrDefault(
                file => file is { Path: "bin/busybox" or "usr/bin/busybox", Kind: PackagedKind.File })?.Content
            ?? throw new LabException($"The package {selection.Busybox.FileName} holds no bin/busybox.");
        var root = new RootTree();
        GuestRoot.AddBase(root, busybox);
        addModules(root);
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
}
