using System.Text;
using VmLab.Guests.Channel;

namespace VmLab.Guests.Initramfs;

/// <summary>The root of a Debian guest: directories, init, busybox with its applets, kernel modules, and what packages
/// install.</summary>
static class GuestRoot
{
    /// <summary>The modules that go in, with what they need.</summary>
    public static readonly IReadOnlyList<string> Modules =
    [
        "virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "virtio_balloon",
        "ext4", "crc32c_generic",
    ];

    const uint Executable = 0x1ED, Plain = 0x1A4, Sticky = 0x3FF, Private = 0x1C0;      // 755, 644, 1777, 700

    static readonly string[] s_ownFiles = ["init", "inittab", "profile", "fstab", "udhcpc"];

    static readonly string[] s_directories =
        ["dev", "etc", "home", "mnt", "opt", "proc", "run", "srv", "sys", "usr/share", "var/lib", "var/log"];

    /// <summary>Puts down what every guest has, before packages come over it.</summary>
    /// <param name="busybox">The statically linked busybox.</param>
    public static void AddBase(RootTree root, byte[] busybox)
    {
        foreach (string directory in s_directories) root.AddDirectory(directory);
        root.AddDirectory("root", Private);
        root.AddDirectory("tmp", Sticky);
        root.AddDirectory("var/tmp", Sticky);
        root.AddLink("var/run", "/run");

        root.AddDevice("dev/console", 0x180, 5, 1);                 // until devtmpfs is mounted over it
        root.AddDevice("dev/null", 0x1B6, 1, 3);

        root.AddFile("init", Executable, Resource("init"));
        root.AddFile("etc/inittab", Plain, Resource("inittab"));
        root.AddFile("etc/profile", Plain, Resource("profile"));
        root.AddFile("etc/fstab", Plain, Resource("fstab"));
        root.AddFile("etc/udhcpc/default.script", Executable, Resource("udhcpc"));
        root.AddLink("etc/mtab", "/proc/self/mounts");
        root.AddFile(
            "etc/passwd", Plain,
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n");
        root.AddFile("etc/group", Plain, "root:x:0:\ntty:x:5:\ndisk:x:6:\nnogroup:x:65534:\n");
        root.AddFile("etc/hosts", Plain, "127.0.0.1 localhost\n");
        root.AddFile("etc/nsswitch.conf", Plain, "passwd: files\ngroup: files\nhosts: files dns\n");
        root.AddFile("usr/bin/busybox", Executable, busybox);
        root.AddFile("usr/sbin/vmlab-agent", Executable, AgentProgram.Build());
        root.AddLink("usr/sbin/modprobe", "../bin/busybox");        // where the kernel looks for it
    }

    /// <summary>Links every applet of busybox that no package brings a program for.</summary>
    public static void AddApplets(RootTree root, byte[] busybox)
    {
        foreach (string applet in BusyboxApplets.In(busybox))
            if (!root.Contains("usr/bin/" + applet) && !root.Contains("usr/sbin/" + applet))
                root.AddLink("usr/bin/" + applet, "busybox");
    }

    /// <summary>Adds the wanted modules that there are, with what they need, and the lists that modprobe
    /// reads.</summary>
    /// <param name="release">As <c>uname -r</c> says it.</param>
    /// <param name="available">Yields a module by its name, or <see langword="null"/>: then it is taken to be built
    /// in.</param>
    public static void AddModules(
        RootTree root, string release, IEnumerable<string> wanted, Func<string, KernelModule?> available)
    {
        var needed = new SortedDictionary<string, IReadOnlyList<KernelModule>>(StringComparer.Ordinal);
        foreach (string name in wanted)
            foreach (KernelModule module in Closure(name, available))
                needed.TryAdd(module.Path, Closure(module.Name, available));

        (StringBuilder list, StringBuilder aliases) = (new(), new());
        foreach ((string path, IReadOnlyList<KernelModule> closure) in needed)
        {
            root.AddFile($"usr/lib/modules/{release}/{path}", Plain, closure[0].Content);
            list.Append(path).Append(':');
            foreach (KernelModule dependency in closure.Skip(1)) list.Append(' ').Append(dependency.Path);
            list.Append('\n');
            foreach (string alias in closure[0].Aliases) aliases.Append($"alias {alias} {closure[0].Name}\n");
        }
        root.AddFile($"usr/lib/modules/{release}/modules.dep", Plain, list.ToString());
        root.AddFile($"usr/lib/modules/{release}/modules.alias", Plain, aliases.ToString());
    }

    /// <summary>The module and all that it needs: each comes before what it needs itself.</summary>
    static IReadOnlyList<KernelModule> Closure(string name, Func<string, KernelModule?> available)
    {
        var order = new List<KernelModule>();
        void Visit(string next, int depth)
        {
            if (depth > 16) throw new LabException($"The kernel module {name} needs itself.");
            if (available(next) is not { } module) return;
            order.RemoveAll(earlier => earlier.Name == module.Name);
            order.Add(module);
            foreach (string dependency in module.Dependencies) Visit(dependency, depth + 1);
        }
        Visit(name, 0);
        return order;
    }

    /// <summary>Everything in a guest that is the lab's own: what a guest's identity depends on besides
    /// packages.</summary>
    public static byte[] OwnFiles() =>
    [
        .. s_ownFiles.SelectMany(Resource), .. AgentProgram.Build(),
        .. Encoding.UTF8.GetBytes(string.Join(' ', Modules)),
    ];

    static byte[] Resource(string name)
    {
        using Stream stream = typeof(GuestRoot).Assembly.GetManifestResourceStream(name)
            ?? throw new System.Diagnostics.UnreachableException($"The assembly lacks its resource {name}.");
        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
