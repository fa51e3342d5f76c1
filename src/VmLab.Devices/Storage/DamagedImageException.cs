namespace VmLab.Devices.Storage;

/// <summary>A file is no disk image that can be used: damaged, or of a kind that is not known.</summary>
/// <param name="rule">The rule that it breaks, in a few words; the same for all files that break it.</param>
public sealed class DamagedImageException(string path, string rule, string detail)
    : LabException($"The disk image {path} is refused: {rule}. {detail}")
{
    public string Rule => rule;
}
