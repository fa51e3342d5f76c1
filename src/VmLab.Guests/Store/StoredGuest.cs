namespace VmLab.Guests.Store;

/// <summary>What the store knows of a guest that it holds, written beside the guest's files.</summary>
/// <param name="Release">The kernel's, as <c>uname -r</c> says it.</param>
/// <param name="Packages">Name and version of every package in it, the kernel's first.</param>
/// <param name="Modules">Names of the kernel modules that were asked for.</param>
public sealed record StoredGuest(
    string Release, IReadOnlyList<string> Packages, IReadOnlyList<string> Modules, StoredFile Kernel,
    StoredFile UnpackedKernel, StoredFile Initramfs);
