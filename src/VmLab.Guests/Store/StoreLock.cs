namespace VmLab.Guests.Store;

/// <summary>Keeps other processes out of a store while this one writes to it.</summary>
public sealed class StoreLock : IDisposable
{
    static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(100), s_patience = TimeSpan.FromMinutes(15);

    readonly FileStream _file;

    StoreLock(FileStream file) => _file = file;

    /// <exception cref="LabException">The folder cannot be written, or another process holds the lock for a quarter of
    /// an hour.</exception>
    public static async Task<StoreLock> TakeAsync(string folder, CancellationToken cancellation)
    {
        string path = Path.Combine(folder, "lock");
        using var timer = new PeriodicTimer(s_pause);
        for (TimeSpan waited = TimeSpan.Zero; waited < s_patience; waited += s_pause)
        {
            if (TryOpen(path) is { } file) return new StoreLock(file);
            await timer.WaitForNextTickAsync(cancellation).ConfigureAwait(false);
        }
        throw new LabException(
            $"Another process has kept the guest store locked for {s_patience.TotalMinutes:0} minutes: {path}. "
            + "End it, then try again.");
    }

    public void Dispose() => _file.Dispose();

    static FileStream? TryOpen(string path)
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (UnauthorizedAccessException cause)
        {
            throw new LabException(
                $"The guest store cannot write to {path}. Set VMLAB_CACHE to a folder of your own.", cause);
        }
        catch (IOException) when (File.Exists(path))
        {
            return null;
        }
        catch (IOException cause)
        {
            throw new LabException(
                $"The guest store cannot use {path}: {cause.Message} Set VMLAB_CACHE to a folder of your own.", cause);
        }
    }
}
