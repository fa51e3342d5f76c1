using Microsoft.Win32.SafeHandles;

namespace VmLab.Devices.Storage;

/// <summary>Bytes that an image starts from, and never changes.</summary>
public interface IImageBase
{
    ByteSize Size { get; }

    /// <param name="offset">The range lies inside the <see cref="Size"/>.</param>
    void Read(ulong offset, Span<byte> bytes);
}

/// <summary>A file of raw bytes, opened for reading alone.</summary>
/// <remarks>Nobody else may write it while it is open. Thread-safe.</remarks>
public sealed class RawFile : IImageBase, IDisposable
{
    readonly SafeFileHandle _file;
    readonly string _path;

    /// <exception cref="LabException">The file cannot be opened, or is no whole number of sectors.</exception>
    public RawFile(string path)
    {
        _path = path;
        try
        {
            _file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"The disk image {path} cannot be opened: {failure.Message}");
        }
        Size = new ByteSize((ulong)RandomAccess.GetLength(_file));
        if (Size.Bytes % IBlockBackend.SectorSize == 0) return;
        _file.Dispose();
        throw new LabException($"The disk image {path} has {Size.Bytes} bytes, which is no whole number of 512-byte sectors.");
    }

    public ByteSize Size { get; }

    /// <exception cref="LabException">The file has become shorter since it was opened.</exception>
    public void Read(ulong offset, Span<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int count = RandomAccess.Read(_file, bytes, (long)offset);
            if (count == 0) throw new LabException($"The disk image {_path} has become shorter while a machine used it.");
            offset += (ulong)count;
            bytes = bytes[count..];
        }
    }

    public void Dispose() => _file.Dispose();
}
