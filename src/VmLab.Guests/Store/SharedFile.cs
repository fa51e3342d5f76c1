namespace VmLab.Guests.Store;

/// <summary>A file of the store that machines load at about the same time: it is in memory once, and not for longer than it is used.</summary>
/// <remarks>Thread-safe.</remarks>
sealed class SharedFile(string folder, StoredFile file)
{
    readonly Lock _lock = new();
    readonly WeakReference<byte[]?> _bytes = new(null);

    /// <inheritdoc cref="StoredFile.Read"/>
    public byte[] Read()
    {
        lock (_lock)
        {
            if (_bytes.TryGetTarget(out byte[]? bytes)) return bytes;
            bytes = file.Read(folder);
            _bytes.SetTarget(bytes);
            return bytes;
        }
    }
}
