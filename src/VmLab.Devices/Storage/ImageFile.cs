using Microsoft.Win32.SafeHandles;
using VmLab.Devices.Storage.Qcow;

namespace VmLab.Devices.Storage;

/// <summary>A file that a disk starts from: opened for reading alone, and never changed.</summary>
public abstract class ImageFile : IImageBase, IDisposable
{
    readonly SafeFileHandle _file;

    /// <exception cref="LabException">The file cannot be opened.</exception>
    private protected ImageFile(string path)
    {
        Path = path;
        try
        {
            _file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            Length = (ulong)RandomAccess.GetLength(_file);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"The disk image {path} cannot be opened: {failure.Message}");
        }
    }

    public string Path { get; }

    /// <summary>Of the disk.</summary>
    public abstract ByteSize Size { get; }

    /// <summary>Of the file, in bytes.</summary>
    private protected ulong Length { get; }

    /// <summary>Opens an image: qcow2 where the file begins as one, or its name ends so; else raw bytes.</summary>
    /// <exception cref="LabException">The file cannot be opened.</exception>
    /// <exception cref="DamagedImageException">The file is damaged.</exception>
    public static ImageFile Open(string path) =>
        QcowImage.IsOne(path) || path.EndsWith(".qcow2", StringComparison.OrdinalIgnoreCase) ? new QcowImage(path) : new RawFile(path);

    /// <inheritdoc/>
    /// <exception cref="DamagedImageException">The file cannot be read there.</exception>
    public abstract void Read(ulong offset, Span<byte> bytes);

    public virtual void Dispose() => _file.Dispose();

    /// <exception cref="DamagedImageException">The file ends before.</exception>
    private protected void ReadFile(ulong offset, Span<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int count = offset > long.MaxValue ? 0 : RandomAccess.Read(_file, bytes, (long)offset);
            if (count == 0) throw new DamagedImageException(Path, "it ends too early", $"Nothing is at byte {offset}.");
            offset += (ulong)count;
            bytes = bytes[count..];
        }
    }
}

/// <summary>A file of raw bytes.</summary>
public sealed class RawFile : ImageFile
{
    /// <exception cref="LabException">The file cannot be opened, or is no whole number of sectors.</exception>
    public RawFile(string path) : base(path)
    {
        if (Length > 0 && Length % IBlockBackend.SectorSize == 0) return;
        Dispose();
        throw new DamagedImageException(path, "no whole number of sectors", $"It has {Length} bytes, and sectors have 512.");
    }

    public override ByteSize Size => new(Length);

    public override void Read(ulong offset, Span<byte> bytes) => ReadFile(offset, bytes);
}
