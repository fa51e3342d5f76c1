using System.Collections.Immutable;
using Iced.Intel;
using VmLab.Guests;

namespace VmLab;

/// <summary>What a machine boots, as a value; derive your own kind for what the methods here do not name.</summary>
public abstract record Guest
{
    /// <summary>How the lab knows that the guest is up.</summary>
    public virtual Readiness Readiness => Readiness.PoweredOn;

    /// <summary>
    /// Debian's own kernel with busybox and the named Debian packages in its root: an unmodified guest with a shell.
    /// </summary>
    /// <param name="packages">Names, e2fsprogs being in by default; what they depend on comes too.</param>
    /// <param name="commandLine">More words for the kernel.</param>
    /// <param name="kernel"><see cref="DebianKernel.Cloud"/> where it is <see langword="null"/>.</param>
    /// <param name="modules">Names of kernel modules for modprobe to find in the guest;
    /// <see cref="DebianKernel.AllModules"/> for all.</param>
    public static Guest Debian(
        IEnumerable<string>? packages = null, string commandLine = "", KernelUnpacking unpacking = KernelUnpacking.OnHost,
        DebianKernel? kernel = null, IEnumerable<string>? modules = null, Kaslr kaslr = Kaslr.Stock) =>
        new DebianSpec(
            [.. packages ?? []], kernel ?? DebianKernel.Cloud, [.. modules ?? []], commandLine, unpacking, kaslr);

    /// <summary>A Linux kernel of the user's own.</summary>
    /// <param name="kernel">Path of a bzImage (vmlinuz) or a vmlinux.</param>
    /// <param name="initrd">Path of an initramfs, or <see langword="null"/>.</param>
    /// <param name="readyText">What the console shows once the guest is up; <see langword="null"/> if nobody waits for
    /// that.</param>
    public static Guest Linux(
        string kernel, string? initrd = null, string commandLine = DebianGuest.DefaultCommandLine, string? readyText = null,
        Kaslr kaslr = Kaslr.Stock) =>
        new LinuxSpec(kernel, initrd, commandLine, readyText, kaslr);

    /// <summary>
    /// A bare-metal program, written in place with Iced's assembler: 64-bit, at 1 MiB, interrupts off, 4 GiB mapped as
    /// they are.
    /// </summary>
    /// <param name="write">Writes the program; called once for all machines that boot this value.</param>
    public static Guest Program(Action<Assembler> write, BootMode mode = BootMode.Long64) => Of(new ProgramGuest(write, mode));

    /// <summary>Bytes of the user's own making.</summary>
    public static Guest Of(IBootable bootable, Readiness? readiness = null) => new ReadySpec(bootable, readiness ?? Readiness.PoweredOn);

    /// <summary>
    /// Makes the bytes to boot; equal guests of a lab are prepared once. It may take long: a download, an unpacking.
    /// </summary>
    /// <param name="progress">Told what goes on, where it takes time.</param>
    /// <exception cref="LabException">What is missing or damaged, and what to do.</exception>
    public abstract Task<IBootable> PrepareAsync(IProgress<string> progress, CancellationToken cancellation);
}

sealed record DebianSpec(
    ImmutableArray<string> Packages, DebianKernel Kernel, ImmutableArray<string> Modules, string CommandLine,
    KernelUnpacking Unpacking, Kaslr Kaslr) : Guest
{
    public override Readiness Readiness => Readiness.Channel;

    // An array is equal to itself alone.
    (string, DebianKernel, string, string, KernelUnpacking, Kaslr) Key =>
        (string.Join('\n', Packages), Kernel, string.Join('\n', Modules), CommandLine, Unpacking, Kaslr);

    public override async Task<IBootable> PrepareAsync(IProgress<string> progress, CancellationToken cancellation)
    {
        DebianGuest guest = await GuestStore.OfUser().DebianAsync(
            Packages, Kernel, Modules, progress: progress, cancellation: cancellation);
        return guest.With(CommandLine.Split(' ', StringSplitOptions.RemoveEmptyEntries)) with
        {
            Unpacking = Unpacking,
            Kaslr = Kaslr,
        };
    }

    public bool Equals(DebianSpec? other) => other is not null && Key == other.Key;

    public override int GetHashCode() => Key.GetHashCode();
}

sealed record LinuxSpec(string Kernel, string? Initrd, string CommandLine, string? ReadyText, Kaslr Kaslr) : Guest
{
    public override Readiness Readiness => ReadyText is null ? Readiness.PoweredOn : Readiness.Shows(ReadyText);

    public override Task<IBootable> PrepareAsync(IProgress<string> progress, CancellationToken cancellation) =>
        Task.FromResult<IBootable>(LinuxGuest.FromFiles(Kernel, Initrd, CommandLine, Kaslr));
}

sealed record ReadySpec(IBootable Bootable, Readiness When) : Guest
{
    public override Readiness Readiness => When;

    public override Task<IBootable> PrepareAsync(IProgress<string> progress, CancellationToken cancellation) => Task.FromResult(Bootable);
}

/// <summary>When a guest is up, for <see cref="Lab.Boot"/>.</summary>
/// <param name="HasChannel">The guest serves the lab's command channel on its second serial port, and is up when that
/// says so.</param>
/// <param name="ConsoleText">The guest is up when its console shows this; <see langword="null"/> to ask for
/// nothing.</param>
public sealed record Readiness(bool HasChannel, string? ConsoleText)
{
    /// <summary>The guest is up as soon as it is powered on.</summary>
    public static Readiness PoweredOn { get; } = new(HasChannel: false, null);

    public static Readiness Channel { get; } = new(HasChannel: true, null);

    public static Readiness Shows(string text) => new(HasChannel: false, text);
}
