namespace VmLab.Core;

/// <summary>A device behind memory addresses. It knows offsets only; where they lie is the machine's affair.</summary>
public interface IMmioDevice
{
    /// <param name="offset">From the first byte of the device's range.</param>
    /// <param name="width">1, 2, 4 or 8 bytes; the access lies inside the range.</param>
    ulong Read(ulong offset, int width);

    /// <inheritdoc cref="Read"/>
    void Write(ulong offset, int width, ulong value);
}
