namespace VmLab;

/// <summary>One of Debian's kernels.</summary>
/// <param name="Package">The metapackage that depends on its present version.</param>
public sealed record DebianKernel(string Package)
{
    /// <summary>Stands for every module, where names of modules are asked for: hundreds of MiB.</summary>
    public const string AllModules = "*";

    /// <summary>For virtual machines: few drivers, quick to boot.</summary>
    public static DebianKernel Cloud { get; } = new("linux-image-cloud-amd64");

    /// <summary>For any PC.</summary>
    public static DebianKernel Generic { get; } = new("linux-image-amd64");
}
