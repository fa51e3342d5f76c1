namespace VmLab;

/// <summary>Whether a Linux kernel runs at addresses drawn from the machine's seed: kernel address space layout
/// randomisation.</summary>
/// <remarks>
/// Who draws them is <see cref="KernelUnpacking"/>'s to say: the loader, or the decompressor in the guest, from its
/// RDRAND, TSC and timer. Either way equal seeds give equal addresses.
/// </remarks>
public enum Kaslr
{
    /// <summary>As the kernel was built: where it can be moved, unless its command line says <c>nokaslr</c>.</summary>
    Stock,

    /// <summary>Always; a kernel that cannot be moved is refused.</summary>
    Seeded,

    /// <summary>Never: the kernel runs where it was linked, as <c>nokaslr</c> makes it, which is added to the command
    /// line.</summary>
    Off,
}
