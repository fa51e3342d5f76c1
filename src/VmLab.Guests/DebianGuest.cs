using VmLab.Core;
using VmLab.Guests.Store;

namespace VmLab.Guests;

/// <summary>Debian's own kernel, byte for byte as packaged, with busybox, the lab's init and the packages asked for in
/// an initramfs.</summary>
/// <remarks>
/// It comes up with a shell on ttyS0, which needs no login, and the lab's command channel on ttyS1. One value serves
/// any number of machines: what differs comes by the kernel's command line (keys in the init script,
/// Initramfs/Files/init).
/// </remarks>
public sealed record DebianGuest : IBootable
{
    /// <summary>What the kernel is told unless the user says otherwise.</summary>
    public const string DefaultCommandLine = "console=ttyS0";

    /// <summary>The line that the shell prints when it starts, and the prompt that follows.</summary>
    public static string BannerOf(string host) => $"vmlab: {host} is up";

    /// <inheritdoc cref="BannerOf"/>
    public static string PromptOf(string host) => $"root@{host}:/# ";

    readonly Files _files;

    internal DebianGuest(string folder, StoredGuest stored)
    {
        Folder = folder;
        Stored = stored;
        _files = new Files(
            new(folder, stored.Kernel), new(folder, stored.UnpackedKernel), new(folder, stored.Initramfs));
    }

    /// <summary>Where the store keeps it.</summary>
    public string Folder { get; }

    /// <summary>What is in it.</summary>
    public StoredGuest Stored { get; }

    /// <summary>Path of the kernel as packaged (bzImage).</summary>
    public string KernelPath => Path.Combine(Folder, Stored.Kernel.Name);

    /// <summary>Path of the initramfs (uncompressed cpio).</summary>
    public string InitramfsPath => Path.Combine(Folder, Stored.Initramfs.Name);

    /// <summary>The kernel's command line, to which <see cref="Load"/> adds the machine's name as vmlab.host.</summary>
    public string CommandLine { get; init; } = DefaultCommandLine;

    public KernelUnpacking Unpacking { get; init; } = KernelUnpacking.OnHost;

    public Kaslr Kaslr { get; init; } = Kaslr.Stock;

    public ulong? ContentHash => new StateHash().Add(CommandLine).Add((ulong)Unpacking).Add((ulong)Kaslr)
        .Add(Stored.Kernel.Hash).Add(Stored.UnpackedKernel.Hash).Add(Stored.Initramfs.Hash).Value;

    /// <summary>Adds words to the command line, such as <c>vmlab.net=eth0:10.0.0.1/24</c>.</summary>
    public DebianGuest With(params IEnumerable<string> words) =>
        this with { CommandLine = string.Join(' ', [CommandLine, .. words]) };

    /// <exception cref="LabException">The store's files are damaged, or the machine's memory is too small.</exception>
    public BootEntry Load(GuestMemory memory, BootContext context) =>
        new LinuxGuest(
            _files.Kernel.Read(), _files.UnpackedKernel.Read, _files.Initramfs.Read(),
            $"{CommandLine} vmlab.host={context.MachineName}", $"Debian's kernel {Stored.Release}")
        {
            Unpacking = Unpacking,
            Kaslr = Kaslr,
        }.Load(memory, context);

    sealed record Files(SharedFile Kernel, SharedFile UnpackedKernel, SharedFile Initramfs);
}
