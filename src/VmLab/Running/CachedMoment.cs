using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using VmLab.Core;
using VmLab.Guests;
using VmLab.Guests.Store;

namespace VmLab.Running;

/// <summary>A moment in the user's store, under a key of all that goes into it.</summary>
sealed class CachedMoment(string name, Fleet fleet, Func<Lab, Task> prepare)
{
    const int MostMoments = 32;
    const string FileName = "lab.moment", UsedName = "used";

    /// <summary>The moment from the store, or else prepared and put there. Two who ask at once wait for each other.</summary>
    /// <exception cref="LabException">The calling code has no pump, or the recipe failed.</exception>
    public async Task<Moment> GetAsync()
    {
        Pump pump = Pump.Current ?? throw new LabException(
            $"To prepare the moment \"{name}\" takes a pump: use Lab.RunAsync, or [LabTest], or put your code in Pump.Run.");
        string store = Path.Combine(GuestStore.OfUser().Folder, "moments");
        string key = await KeyAsync(pump.Options.Stop), folder = Path.Combine(store, key), path = Path.Combine(folder, FileName);
        if (pump.Options.Moments is { } brought && TryLoad(Path.Combine(brought, key, FileName), key) is { } bundled) return bundled;
        if (TryLoad(path, key) is { } ready) return ready;
        using (StoreLock _ = await StoreLock.TakeAsync(folder, pump.Options.Stop))
        {
            if (TryLoad(path, key) is { } others) return others;
            await MakeAsync(path, pump.Options);
        }
        DropOldest(store);
        return Moment.LoadCached(path, fleet, key);
    }

    // What cannot be loaded is as good as absent: it is made again.
    Moment? TryLoad(string path, string key)
    {
        try
        {
            if (!File.Exists(path)) return null;
            Moment moment = Moment.LoadCached(path, fleet, key);
            File.WriteAllBytes(Path.Combine(Path.GetDirectoryName(path)!, UsedName), []);   // whose time says when
            return moment;
        }
        catch (Exception trouble) when (trouble is LabException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    async Task MakeAsync(string path, LabOptions options)
    {
        await using Lab lab = await Lab.StartAsync(fleet, options with { Seed = fleet.RootSeed, Hashes = null, Gdb = null, Trace = null });
        await prepare(lab);
        using Moment moment = await lab.Snapshot(name);
        moment.Save(path);
    }

    async Task<string> KeyAsync(CancellationToken stop)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Add(name);
        Type[] parts =
            [typeof(Moment), typeof(Machines.Machine), typeof(GuestStore), typeof(Rng), typeof(X86.Vcpu), typeof(Devices.Uart16550)];
        foreach (Type part in parts) Add($"{part.Module.ModuleVersionId}");
        Add(prepare.Method.Module.ModuleVersionId.ToString());
        Add($"{prepare.Method.DeclaringType} {prepare.Method}");
        foreach (FieldInfo field in prepare.Target?.GetType().GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic) ?? [])
            if (PlainBytes(field.GetValue(prepare.Target)) is { } value) hash.AppendData(value);
        hash.AppendData(MomentFile.Define(fleet).AsSpan());
        foreach (Guest guest in fleet.Machines.Select(machine => machine.Guest).OfType<Guest>().Distinct())
        {
            IBootable bootable = await guest.PrepareAsync(new Progress<string>(), stop);
            Add(bootable.ContentHash is { } content ? $"{content:x16}" : $"{bootable.GetType().Module.ModuleVersionId}");
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset())[..24];

        void Add(string text)
        {
            hash.AppendData(Encoding.UTF8.GetBytes(text));
            hash.AppendData([0]);
        }
    }

    static byte[]? PlainBytes(object? captured)
    {
        if (captured is null) return [0];
        if (captured is Fleet own) return [.. MomentFile.Define(own)];
        if (captured is string or IFormattable) return Encoding.UTF8.GetBytes($"{captured}\0");
        try
        {
            var writer = new RecordWriter(new PageList());
            writer.Write(captured);
            return writer.Bytes.ToArray();
        }
        catch (LabException)
        {
            return null;   // no plain value
        }
    }

    static void DropOldest(string store)
    {
        DirectoryInfo[] folders = new DirectoryInfo(store).GetDirectories();
        foreach (DirectoryInfo folder in folders.OrderByDescending(LastUse).Skip(MostMoments)) folder.Delete(recursive: true);

        static DateTime LastUse(DirectoryInfo folder) =>
            folder.GetFiles(UsedName) is [var used] ? used.LastWriteTimeUtc : folder.LastWriteTimeUtc;
    }
}
