using System.IO.Hashing;

namespace VmLab.Guests.Store;

/// <summary>A file of the store, with what tells whether it is still whole.</summary>
/// <param name="Hash">XXH3 of its bytes: against accidents, and fast enough to look at every time.</param>
public sealed record StoredFile(string Name, long Size, ulong Hash)
{
    internal static StoredFile Write(string folder, string name, byte[] bytes)
    {
        File.WriteAllBytes(Path.Combine(folder, name), bytes);
        return new(name, bytes.Length, XxHash3.HashToUInt64(bytes));
    }

    /// <exception cref="LabException">The file is missing, or not what was once written.</exception>
    internal byte[] Read(string folder)
    {
        string path = Path.Combine(folder, Name);
        try
        {
            byte[] bytes = File.ReadAllBytes(path);
            if (bytes.Length == Size && XxHash3.HashToUInt64(bytes) == Hash) return bytes;
        }
        catch (Exception cause) when (cause is IOException or UnauthorizedAccessException)
        {
            throw new LabException(
                $"The stored guest cannot be read: {cause.Message} Remove {folder}; it is then built again.", cause);
        }
        throw new LabException(
            $"The stored guest is damaged: {path} has changed. Remove {folder}; it is then built again.");
    }
}
