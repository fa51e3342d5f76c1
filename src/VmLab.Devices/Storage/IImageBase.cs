namespace VmLab.Devices.Storage;

/// <summary>Bytes that an image starts from, and never changes.</summary>
public interface IImageBase
{
    ByteSize Size { get; }

    /// <param name="offset">The range lies inside the <see cref="Size"/>.</param>
    /// <exception cref="DamagedImageException">They cannot be read.</exception>
    void Read(ulong offset, Span<byte> bytes);
}
