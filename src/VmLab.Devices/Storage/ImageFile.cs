using System.IO.Hashing;
using Microsoft.Win32.SafeHandles;
using VmLab.Devices.Storage.Qcow;

namespace VmLab.Devices.Storage;

/// <summary>A file that a disk starts from: opened for reading alone, and never changed.</summary>
public abstract class ImageFile : IImageBase, IDisposable
{
    const ulong HashedAtOnce = 1 << 20;

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

    /// <summary>What is in the file, and in those that it lies over. Costs a read of them all.</summary>
    /// <exception cref="DamagedImageException">One of them cannot be read.</exception>
    public ImageContent ReadContent()
    {
        var hash = new XxHash128();
        ulong length = AddTo(hash);
        return new ImageContent(Path, length, hash.GetCurrentHashAsUInt128());
    }

    /// <inheritdoc/>
    /// <exception cref="DamagedImageException">The file cannot be read there.</exception>
    public abstract void Read(ulong offset, Span<byte> bytes);

    public virtual void Dispose() => _file.Dispose();

    /// <summary>Adds all bytes of the file, and of those that it lies over.</summary>
    /// <returns>How many they are.</returns>
    internal virtual ulong AddTo(XxHash128 hash)
    {
        byte[] buffer = new byte[HashedAtOnce];
        for (ulong at = 0; at < Length; at += HashedAtOnce)
        {
            Span<byte> bytes = buffer.AsSpan(0, (int)Math.Min(HashedAtOnce, Length - at));
            ReadFile(at, bytes);
            hash.Append(bytes);
        }
        return Length;
    }

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

/// <summary>A disk image by what is in it.</summary>
/// <param name="Length">Of the file and of those that it lies over, in bytes.</param>
/// <param name="Hash">XXH128 of all their bytes.</param>
public readonly record struct ImageContent(string Path, ulong Length, UInt128 Hash);

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
