using System.Text;

namespace VmLab.Guests.Initramfs;

/// <summary>Reads from a busybox binary what it can do, without running it.</summary>
/// <remarks>
/// Busybox holds the names of its applets as zero-terminated strings, sorted, one after the other, and ended by an
/// empty one; the first two are those of the test command. Source: BusyBox, applets/applet_tables.c.
/// </remarks>
static class BusyboxApplets
{
    const int MostApplets = 1000, LongestName = 32;

    static readonly byte[] s_first = "\0[\0[[\0"u8.ToArray();

    /// <exception cref="LabException">The list is not there.</exception>
    public static IReadOnlyList<string> In(byte[] busybox)
    {
        int position = busybox.AsSpan().IndexOf(s_first) + 1;
        var names = new List<string>();
        while (position > 0 && names.Count < MostApplets)
        {
            int length = busybox.AsSpan(position).IndexOf((byte)0);
            if (length is <= 0 or > LongestName) break;
            names.Add(Encoding.ASCII.GetString(busybox, position, length));
            position += length + 1;
        }
        return names.Contains("sh") && names.Contains("init") && names.Contains("mount")
            ? names
            : throw new LabException(
                "The busybox of the package busybox-static has no list of applets, or lacks sh, init or mount.");
    }
}
