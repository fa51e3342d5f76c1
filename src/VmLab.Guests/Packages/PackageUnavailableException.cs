namespace VmLab.Guests.Packages;

/// <summary>The source no longer has, or cannot deliver, what its lists promise.</summary>
public sealed class PackageUnavailableException(string message) : LabException(message);
