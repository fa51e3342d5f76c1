using VmLab.Core;

namespace VmLab.Guests.Linux;

/// <summary>How far a kernel is moved from where it was linked, in bytes.</summary>
/// <param name="Physical">In memory.</param>
/// <param name="Virtual">In its own address space.</param>
/// <remarks>
/// Simplified: the kernel stays below 4 GiB, where the loader's page tables end.
/// Source: Linux, arch/x86/boot/compressed/kaslr.c, choose_random_location().
/// </remarks>
readonly record struct KernelOffset(ulong Physical, ulong Virtual)
{
    const ulong VirtualSpace = 1UL << 30;       // KERNEL_IMAGE_SIZE

    /// <summary>Draws one of the places that the kernel's own decompressor would draw from.</summary>
    /// <param name="start">Physical address that the kernel was linked at; it is never moved below.</param>
    /// <param name="size">Bytes from there to its end.</param>
    /// <param name="alignment">What every address is a multiple of.</param>
    /// <param name="free">Ranges of usable memory with nothing in them.</param>
    public static KernelOffset Draw(
        ulong start, ulong size, ulong alignment, IEnumerable<(ulong Start, ulong End)> free, Rng random)
    {
        (ulong First, ulong Count)[] slots =
        [
            .. from range in free
               let first = AlignUp(Math.Max(range.Start, start), alignment)
               where first + size <= range.End
               select (first, (range.End - size - first) / alignment + 1),
        ];
        ulong physical = start;
        ulong slot = random.NextBelow(slots.Aggregate(0UL, (sum, range) => sum + range.Count));
        foreach ((ulong first, ulong count) in slots)
        {
            if (slot < count)
            {
                physical = first + slot * alignment;
                break;
            }
            slot -= count;
        }
        ulong room = start + size <= VirtualSpace ? VirtualSpace - start - size : 0;
        return new(physical - start, random.NextBelow(room / alignment + 1) * alignment);
    }

    static ulong AlignUp(ulong address, ulong alignment) => address + alignment - 1 & ~(alignment - 1);
}
