using System.Buffers.Binary;
using VmLab.Guests.Compression;

namespace VmLab.Guests.Linux;

/// <summary>What a bzImage carries: a packed vmlinux, unpacked here so that the guest need not.</summary>
/// <remarks>
/// Every packer but gzip has the kernel's build append the unpacked size; gzip has it of its own.
/// Source: Linux, scripts/Makefile.lib, "size_append"; arch/x86/boot/compressed/misc.c.
/// </remarks>
static class KernelPayload
{
    const int SizeField = 4;

    /// <returns>The vmlinux: an ELF image, after which come what relocations it needs to move.</returns>
    /// <exception cref="LabException">The payload is damaged, or packed in a format unknown here.</exception>
    public static byte[] Unpack(ReadOnlySpan<byte> payload, string name)
    {
        if (payload.Length < 2 * SizeField) throw Damaged(name);
        if (ElfImage.IsElf(payload)) return payload.ToArray();

        uint size = BinaryPrimitives.ReadUInt32LittleEndian(payload[^SizeField..]);
        byte[] kernel =
            Unpacker.Unpack(Unpacker.IsGzip(payload) ? payload : payload[..^SizeField], $"The payload of {name}");
        return (uint)kernel.Length == size ? kernel : throw Damaged(name);
    }

    static LabException Damaged(string name) =>
        new($"{name} is a damaged Linux kernel: its payload is not whole. Fetch it again.");
}
