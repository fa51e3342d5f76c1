namespace VmLab.Guests.Channel;

/// <summary>Linux' error numbers in words, those that running commands and moving files give.</summary>
/// <remarks>Source: Linux, include/uapi/asm-generic/errno-base.h and errno.h.</remarks>
static class GuestErrors
{
    /// <summary>All requests that the agent can serve at once are under way.</summary>
    public const int Busy = 11;

    public const int Cancelled = 125;

    static readonly Dictionary<int, string> s_words = new()
    {
        [1] = "operation not permitted",
        [2] = "no such file or directory",
        [4] = "interrupted",
        [5] = "input/output error",
        [6] = "no such device or address",
        [Busy] = "too much at once",
        [12] = "out of memory",
        [13] = "permission denied",
        [16] = "device or resource busy",
        [17] = "file exists",
        [19] = "no such device",
        [20] = "not a directory",
        [21] = "is a directory",
        [22] = "invalid argument",
        [23] = "too many open files",
        [24] = "too many open files",
        [26] = "text file busy",
        [27] = "file too large",
        [28] = "no space left on device",
        [30] = "read-only file system",
        [32] = "broken pipe",
        [36] = "file name too long",
        [40] = "too many symbolic links",
        [Cancelled] = "cancelled",
    };

    public static string Describe(int number) => s_words.GetValueOrDefault(number, $"error {number}");
}
