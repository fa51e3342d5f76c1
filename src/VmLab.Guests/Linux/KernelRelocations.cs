using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using VmLab.Core;

namespace VmLab.Guests.Linux;

/// <summary>Where in a kernel there are addresses of its own, to be changed when it runs elsewhere than it was
/// linked.</summary>
/// <remarks>
/// The build appends them to the vmlinux: 32-bit places, each a virtual address that is sign-extended, in lists that
/// each come after a zero: those of 64-bit addresses; those of 32-bit distances from what does not move (up to Linux
/// 6.14), where the move is subtracted; those of 32-bit addresses.
/// Source: Linux, arch/x86/tools/relocs.c, emit_relocs(); arch/x86/boot/compressed/misc.c, handle_relocations().
/// </remarks>
sealed class KernelRelocations
{
    const int PlaceSize = 4;
    const ulong KernelMap = 0xFFFF_FFFF_8000_0000;      // virtual address of physical address 0, __START_KERNEL_map

    readonly int[] _quads, _inverseLongs, _longs;

    KernelRelocations(int[] quads, int[] inverseLongs, int[] longs)
    {
        _quads = quads;
        _inverseLongs = inverseLongs;
        _longs = longs;
    }

    /// <param name="appended">What follows the ELF image in a packaged kernel.</param>
    /// <returns><see langword="null"/> if these are no relocations.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]   // once, over half a million places
    public static KernelRelocations? Parse(ReadOnlySpan<byte> appended)
    {
        if (appended.Length % PlaceSize != 0) return null;
        var places = new int[appended.Length / PlaceSize];
        for (int i = 0; i < places.Length; i++)
            places[i] = BinaryPrimitives.ReadInt32LittleEndian(appended[(i * PlaceSize)..]);

        int[] zeros = ZerosOf(places);
        return zeros switch
        {
            [0, int second, int third] => new(places[1..second], places[(second + 1)..third], places[(third + 1)..]),
            [0, int second] => new(places[1..second], [], places[(second + 1)..]),
            _ => null,
        };
    }

    static int[] ZerosOf(ReadOnlySpan<int> places)
    {
        const int Most = 4;   // three lists, and one too many
        var zeros = new List<int>();
        for (int next = 0; zeros.Count < Most && places[next..].IndexOf(0) is var found and >= 0; next += found + 1)
            zeros.Add(next + found);
        return [.. zeros];
    }

    /// <summary>Changes every address in a kernel that has been loaded.</summary>
    /// <param name="offset">How far it lies from where it was linked.</param>
    /// <exception cref="LabException">A place lies outside the kernel.</exception>
    public void Apply(GuestMemory memory, ElfImage kernel, KernelOffset offset, string name)
    {
        ulong start = kernel.Start, end = kernel.End;
        Add(_longs, sizeof(uint), offset.Virtual);
        Add(_inverseLongs, sizeof(uint), 0 - offset.Virtual);
        Add(_quads, sizeof(ulong), offset.Virtual);

        void Add(int[] places, int size, ulong distance)
        {
            foreach (int place in places)
            {
                ulong address = (ulong)(long)place - KernelMap;
                if (address < start || address > end - (ulong)size)
                    throw new LabException(
                        $"{name} is a damaged Linux kernel: its relocations lie outside it. Fetch it again.");
            }
            Move(memory, places, size, offset.Physical - KernelMap, distance);
        }
    }

    /// <summary>Adds a distance to the number at each place: half a million of them, so a page's are moved in one go.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Move(GuestMemory memory, ReadOnlySpan<int> places, int size, ulong toPhysical, ulong distance)
    {
        Span<byte> bytes = stackalloc byte[GuestMemory.PageSize + sizeof(ulong)];
        while (places.Length > 0)
        {
            ulong page = (ulong)(long)places[0] + toPhysical & ~(ulong)(GuestMemory.PageSize - 1);
            memory.Read(page, bytes);
            int count = 0;
            for (; count < places.Length; count++)
            {
                ulong at = (ulong)(long)places[count] + toPhysical - page;
                if (at >= GuestMemory.PageSize) break;
                Span<byte> number = bytes.Slice((int)at, size);
                if (size == sizeof(ulong))
                    BinaryPrimitives.WriteUInt64LittleEndian(number, BinaryPrimitives.ReadUInt64LittleEndian(number) + distance);
                else BinaryPrimitives.WriteUInt32LittleEndian(number, BinaryPrimitives.ReadUInt32LittleEndian(number) + (uint)distance);
            }
            memory.Write(page, bytes);
            places = places[count..];
        }
    }
}
