using System.Globalization;
using VmLab.Guests.Compression;
using VmLab.Guests.Initramfs;

namespace VmLab.Guests.Linux;

/// <summary>Finds out whether an initramfs is whole, before a kernel does, whose complaint scrolls by and ends in a
/// panic.</summary>
/// <remarks>
/// An initramfs is cpio archives, one after the other, of which the last may be packed. What is neither, or packed in a
/// format unknown here, passes: the kernel may know it. Source: Linux,
/// Documentation/driver-api/early-userspace/buffer-format.rst.
/// </remarks>
static class InitrdCheck
{
    const int HeaderSize = 110, FieldSize = 8, SizeField = 6, NameSizeField = 11, MagicSize = 6, MostNested = 2;

    /// <exception cref="LabException">The initramfs is truncated or damaged.</exception>
    public static void RequireWhole(ReadOnlySpan<byte> initrd, string name) => RequireWhole(initrd, name, depth: 0);

    static void RequireWhole(ReadOnlySpan<byte> rest, string name, int depth)
    {
        while (true)
        {
            rest = rest.TrimStart((byte)0);
            if (rest.StartsWith("070701"u8) || rest.StartsWith("070702"u8)) rest = SkipArchive(rest, name);
            else break;
        }
        if (Unpacker.IsPacked(rest) && depth < MostNested) RequireWhole(Unpacker.Unpack(rest, name), name, depth + 1);
    }

    static ReadOnlySpan<byte> SkipArchive(ReadOnlySpan<byte> archive, string name)
    {
        int position = 0;
        while (archive.Length - position >= HeaderSize)
        {
            ReadOnlySpan<byte> header = archive[position..];
            long nameSize = Field(header, NameSizeField, name), size = Field(header, SizeField, name);
            long content = Align(position + HeaderSize + nameSize), end = Align(content + size);
            bool isLast = nameSize == 11 && header[HeaderSize..].StartsWith("TRAILER!!!"u8);
            if (isLast) return archive[(int)Math.Min(end, archive.Length)..];
            if (content + size > archive.Length) break;
            position = (int)Math.Min(end, archive.Length);
        }
        throw new LabException($"{name} is truncated: its cpio archive has no end. Build it again, or fetch it again.");
    }

    static long Field(ReadOnlySpan<byte> header, int index, string name) =>
        header[0] == '0' && uint.TryParse(
            header.Slice(MagicSize + index * FieldSize, FieldSize), NumberStyles.AllowHexSpecifier,
            CultureInfo.InvariantCulture, out uint value)
            ? value
            : throw new LabException(
                $"{name} is damaged: its cpio archive makes no sense. Build it again, or fetch it again.");

    static long Align(long position) => position + CpioArchive.Alignment - 1 & ~(CpioArchive.Alignment - 1L);
}
