using System.Buffers.Binary;
using System.IO.Compression;

namespace VmLab.Guests.Tests;

/// <summary>Small kernels made for a test: right in every field that a loader reads, and nothing but a pattern in
/// it.</summary>
static class TestKernel
{
    public const int LoadAddress = 0x20_0000, InitSize = 0x8_0000, SegmentSize = 3000, BssSize = 5000;
    public const ulong Entry = LoadAddress + 0x40;
    public const uint HighestInitrd = 0x7FFF_FFFF, LongestCommandLine = 255;

    /// <summary>An ELF executable with one segment of a pattern and zeroes after it.</summary>
    public static byte[] Vmlinux(ulong address = LoadAddress)
    {
        byte[] elf = new byte[120 + SegmentSize];
        ReadOnlySpan<byte> identification = [0x7F, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];
        identification.CopyTo(elf);
        Put(elf, 16, 2, 2);
        Put(elf, 18, 2, 62);
        Put(elf, 24, 8, Entry);
        Put(elf, 32, 8, 64);
        Put(elf, 54, 2, 56);
        Put(elf, 56, 2, 1);
        Put(elf, 64, 4, 1);
        Put(elf, 72, 8, 120);
        Put(elf, 80, 8, 0xFFFF_FFFF_8100_0000);
        Put(elf, 88, 8, address);
        Put(elf, 96, 8, SegmentSize);
        Put(elf, 104, 8, SegmentSize + BssSize);
        for (int i = 0; i < SegmentSize; i++) elf[120 + i] = (byte)(i * 7 + i / 256);
        return elf;
    }

    /// <summary>The kernel with relocations after it.</summary>
    /// <param name="lists">Places by their offset in the kernel's segment: of 64-bit addresses, of inverse 32-bit ones,
    /// of 32-bit ones; from Linux 6.15 on without the second.</param>
    public static byte[] Relocatable(params int[][] lists)
    {
        IEnumerable<int> places = lists.SelectMany(
            list => list.Select(offset => unchecked((int)0x8000_0000) + LoadAddress + offset).Prepend(0));
        return [.. Vmlinux(), .. places.SelectMany(BitConverter.GetBytes)];
    }

    /// <summary>A bzImage that carries the packed kernel.</summary>
    public static byte[] BzImage(byte[]? payload = null)
    {
        payload ??= Gzip(Vmlinux());
        const int SetupSectors = 3, PayloadOffset = 64;
        int start = (SetupSectors + 1) * 512;
        byte[] image = new byte[start + PayloadOffset + payload.Length];
        image[0x1F1] = SetupSectors;
        Put(image, 0x1FE, 2, 0xAA55);
        image[0x200] = 0xEB;
        image[0x201] = 0x6A;
        "HdrS"u8.CopyTo(image.AsSpan(0x202));
        Put(image, 0x206, 2, 0x20F);
        image[0x211] = 1;
        Put(image, 0x22C, 4, HighestInitrd);
        Put(image, 0x230, 4, 0x20_0000);
        image[0x234] = 1;
        Put(image, 0x236, 2, 1);
        Put(image, 0x238, 4, LongestCommandLine);
        Put(image, 0x248, 4, PayloadOffset);
        Put(image, 0x24C, 4, (ulong)payload.Length);
        Put(image, 0x258, 8, LoadAddress);
        Put(image, 0x260, 4, InitSize);
        payload.CopyTo(image, start + PayloadOffset);
        return image;
    }

    public static byte[] Gzip(byte[] bytes)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true)) gzip.Write(bytes);
        return packed.ToArray();
    }

    /// <summary>Appends the unpacked size, as the kernel's build does.</summary>
    public static byte[] WithSize(byte[] packed, int size)
    {
        byte[] bytes = [.. packed, 0, 0, 0, 0];
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(packed.Length), size);
        return bytes;
    }

    public static void Put(byte[] bytes, int offset, int size, ulong value)
    {
        for (int i = 0; i < size; i++) bytes[offset + i] = (byte)(value >> (8 * i));
    }
}
