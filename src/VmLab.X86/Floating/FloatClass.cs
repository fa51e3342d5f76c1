namespace VmLab.X86.Floating;

/// <summary>The kinds of floating-point data.</summary>
/// <remarks>Source: Intel SDM vol. 1 §4.8.3; §8.2.2 for the encodings that the x87 does not support.</remarks>
enum FloatClass : byte
{
    Zero,
    Finite,
    Infinity,
    QuietNan,
    SignalingNan,

    /// <summary>An 80-bit encoding that is no number: unnormal, pseudo-infinity, pseudo-NaN.</summary>
    Unsupported,
}
