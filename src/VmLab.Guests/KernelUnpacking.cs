namespace VmLab;

/// <summary>Who unpacks a packaged kernel.</summary>
public enum KernelUnpacking
{
    /// <summary>The loader, on the host: the guest's first instruction is the kernel's own.</summary>
    OnHost,

    /// <summary>The decompressor that the package carries, in the guest, as on a real PC.</summary>
    InGuest,
}
