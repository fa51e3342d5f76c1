using System.IO.MemoryMappedFiles;

namespace VmLab.Core;

/// <summary>A file as memory, for reading alone. Nobody may change or cut the file meanwhile; to replace it by another is harmless.</summary>
sealed unsafe class MappedFile : IDisposable
{
    readonly MemoryMappedFile _file;
    readonly MemoryMappedViewAccessor _view;
    bool _isDisposed;

    /// <exception cref="IOException">It cannot be read, or is empty.</exception>
    public MappedFile(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        Length = stream.Length;
        if (Length == 0) throw new IOException("it is empty");
        _file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
        _view = _file.CreateViewAccessor(0, Length, MemoryMappedFileAccess.Read);
        byte* start = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        Start = start;
    }

    /// <summary>The first byte.</summary>
    // SAFETY: good until Dispose.
    public byte* Start { get; }

    /// <summary>In bytes.</summary>
    public long Length { get; }

    public ReadOnlySpan<byte> Span(long offset, int length) => offset >= 0 && offset + length <= Length
        ? new ReadOnlySpan<byte>(Start + offset, length)
        : throw new ArgumentOutOfRangeException(nameof(offset));

    public void Dispose()
    {
        if (_isDisposed) return;
        _isDisposed = true;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _file.Dispose();
    }
}
