using VmLab.Guests;

namespace VmLab.Cli;

/// <summary><c>vmlab guests</c>: what is in the user's store, and what is to be.</summary>
static class GuestsCommand
{
    public static int List()
    {
        GuestStore store = GuestStore.OfUser();
        IReadOnlyList<DebianGuest> guests = store.List();
        Console.WriteLine(guests.Count == 0
            ? $"No guest in {store.Folder}. `vmlab guests fetch` gets Debian's kernel and busybox; so does a script that boots them."
            : $"{guests.Count} in {store.Folder}:");
        foreach (DebianGuest guest in guests) Tell(guest);
        return ExitCode.Passed;
    }

    /// <summary>Fetches and builds the guest of a set of packages.</summary>
    /// <param name="packages">Names, besides those that every guest has.</param>
    /// <param name="kernel">Metapackage of the kernel.</param>
    /// <param name="modules">Names of kernel modules to have.</param>
    /// <param name="update">Asks for the packages' present versions, though the store has some.</param>
    public static int Fetch(
        IReadOnlyList<string> packages, string kernel, IReadOnlyList<string> modules, bool update)
    {
        using var interruption = new Interruption();
        try
        {
            Tell(GuestStore.OfUser()
                .DebianAsync(packages, new DebianKernel(kernel), modules, update, new Told(), interruption.Stop)
                .GetAwaiter().GetResult());
            return ExitCode.Passed;
        }
        catch (OperationCanceledException) when (interruption.IsRequested)
        {
            Console.Error.WriteLine("Stopped by request; what was downloaded whole stays in the store.");
            return ExitCode.Interrupted;
        }
    }

    static void Tell(DebianGuest guest) => Console.WriteLine(
        $"Debian, kernel {guest.Stored.Release}, initramfs {new ByteSize((ulong)guest.Stored.Initramfs.Size)}: "
        + string.Join(", ", guest.Stored.Packages)
        + (guest.Stored.Modules.Count > 0 ? $"; modules {string.Join(", ", guest.Stored.Modules)}" : ""));

    // At once, in order; System.Progress would hand it to the thread pool.
    sealed class Told : IProgress<string>
    {
        public void Report(string value) => Console.Error.WriteLine(value);
    }
}
