namespace VmLab;

/// <summary>What a network has carried; a frame to several machines counts for each.</summary>
/// <param name="Frames">Put on their way to a machine.</param>
/// <param name="Bytes">Of these frames, without preamble and check sequence.</param>
/// <param name="Dropped">Frames that found their queue full, or their receiver off.</param>
/// <param name="Lost">Frames that faults took.</param>
public readonly record struct LinkCounters(ulong Frames, ulong Bytes, ulong Dropped, ulong Lost);
