using System.IO.Hashing;

namespace VmLab.Core;

/// <summary>Has memories of one pool hold pages of equal bytes once: machines that start from one kernel share what it does not relocate.</summary>
/// <remarks>
/// No guest can tell: a store takes a copy first, as after a moment. Costs a hash of each page that was written, and a comparison of
/// each that was met before. For memories that nobody runs meanwhile.
/// </remarks>
public sealed class EqualPages
{
    readonly Dictionary<ulong, (GuestMemory Memory, uint Page)> _met = [];

    /// <summary>Has the pages that were written since the last moment take the frames of equal ones that were met before.</summary>
    public void Share(GuestMemory memory)
    {
        foreach (uint page in memory.DirtyPages)
        {
            ulong hash = XxHash3.HashToUInt64(memory.PageOf(page));
            if (!_met.TryAdd(hash, (memory, page))) memory.Share(page, _met[hash].Memory, _met[hash].Page);
        }
    }
}
