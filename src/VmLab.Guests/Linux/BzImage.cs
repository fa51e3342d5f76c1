using System.Buffers.Binary;
using System.Numerics;
using VmLab.Core;

namespace VmLab.Guests.Linux;

/// <summary>A Linux kernel as distributions package it: real-mode setup sectors, a decompressor, and the compressed
/// kernel.</summary>
/// <remarks>Source: Linux, Documentation/x86/boot.rst, "The Real-Mode Kernel Header" and "64-bit boot
/// protocol".</remarks>
sealed class BzImage
{
    /// <summary>Where the setup header lies, in the file and in boot_params alike.</summary>
    public const int HeaderStart = 0x1F1;

    // Offsets in the file, by the names of boot.rst.
    const int SetupSects = 0x1F1, BootFlag = 0x1FE, JumpLength = 0x201, Magic = 0x202, Version = 0x206,
              LoadFlags = 0x211,
              InitrdAddressMax = 0x22C, KernelAlignment = 0x230, Relocatable = 0x234, ExtendedLoadFlags = 0x236,
              CommandLineSize = 0x238, PayloadOffset = 0x248, PayloadLength = 0x24C, PreferredAddress = 0x258,
              InitSize = 0x260, HeaderEnd = 0x264;

    const int SectorSize = 512;
    const ushort BootFlagValue = 0xAA55, OldestVersion = 0x20C;
    const byte LoadedHigh = 0x01;
    const ushort Has64BitEntry = 0x01;

    readonly byte[] _image;
    readonly int _kernelStart;

    BzImage(byte[] image, int kernelStart)
    {
        _image = image;
        _kernelStart = kernelStart;
    }

    /// <summary>The setup header, to be copied to boot_params at <see cref="HeaderStart"/>.</summary>
    public ReadOnlySpan<byte> Header => _image.AsSpan(HeaderStart..(Magic + _image[JumpLength]));

    /// <summary>What is loaded and entered for decompression in the guest: everything after the setup
    /// sectors.</summary>
    public ReadOnlySpan<byte> ProtectedModeKernel => _image.AsSpan(_kernelStart);

    /// <summary>The compressed kernel.</summary>
    public ReadOnlySpan<byte> Payload =>
        _image.AsSpan(_kernelStart + (int)Long(_image, PayloadOffset), (int)Long(_image, PayloadLength));

    /// <summary>Physical address, in bytes, that the kernel wants to run at.</summary>
    public ulong LoadAddress => BinaryPrimitives.ReadUInt64LittleEndian(_image.AsSpan(PreferredAddress));

    /// <summary>Bytes from <see cref="LoadAddress"/> on that the kernel uses before it reads the memory map.</summary>
    public uint MemoryNeeded => Long(_image, InitSize);

    /// <summary>Whether the kernel may run at another address than <see cref="LoadAddress"/>.</summary>
    public bool IsRelocatable => _image[Relocatable] != 0;

    /// <summary>What the address that the kernel runs at is a multiple of, in bytes: a power of two.</summary>
    public uint Alignment => Long(_image, KernelAlignment);

    /// <summary>Highest address, in bytes, that the initramfs may cover.</summary>
    public uint HighestInitrdAddress => Long(_image, InitrdAddressMax);

    /// <summary>Longest command line in bytes, its terminating zero not counted.</summary>
    public uint LongestCommandLine => Long(_image, CommandLineSize);

    /// <summary>Whether the file starts as a bzImage does: anything else is no kernel of this kind, whole or
    /// damaged.</summary>
    public static bool IsBzImage(ReadOnlySpan<byte> image) =>
        image.Length >= Magic + 4 && Word(image, BootFlag) == BootFlagValue
            && image.Slice(Magic, 4).SequenceEqual("HdrS"u8);

    /// <param name="name">How messages call the image: its path, or what the user named it.</param>
    /// <exception cref="LabException">The image is truncated, too old, not for 64-bit PCs, or contradicts
    /// itself.</exception>
    public static BzImage Parse(byte[] image, string name)
    {
        if (!IsBzImage(image))
            throw new LabException(
                $"{name} is not a Linux kernel: it has no bzImage header. Give the vmlinuz file of a kernel package.");
        if (image.Length < HeaderEnd) throw Truncated(name, image.Length, HeaderEnd);

        ushort version = Word(image, Version);
        if (version < OldestVersion)
            throw new LabException(
                $"{name} speaks Linux boot protocol {version >> 8}.{version & 0xFF:00}, and 2.12 (Linux 3.8) "
                + "is the oldest that can be booted here. Give a newer kernel.");
        if ((image[LoadFlags] & LoadedHigh) == 0 || (Word(image, ExtendedLoadFlags) & Has64BitEntry) == 0)
            throw new LabException(
                $"{name} has no 64-bit entry point: it is a 32-bit kernel or a zImage. Give a kernel for amd64.");

        int setupSectors = image[SetupSects] == 0 ? 4 : image[SetupSects];
        int kernelStart = (setupSectors + 1) * SectorSize;
        ulong payloadEnd = (ulong)kernelStart + Long(image, PayloadOffset) + Long(image, PayloadLength);
        if (payloadEnd > (ulong)image.Length) throw Truncated(name, image.Length, payloadEnd);

        var parsed = new BzImage(image, kernelStart);
        parsed.RequireSaneAddresses(name);
        return parsed;
    }

    void RequireSaneAddresses(string name)
    {
        bool isSane = Magic + _image[JumpLength] >= HeaderEnd
            && LoadAddress >= BootLayout.HighStart
            && LoadAddress + MemoryNeeded <= GuestMemory.LowTop
            && LoadAddress <= GuestMemory.LowTop
            && BitOperations.IsPow2(Alignment)
            && (IsRelocatable || LoadAddress % Alignment == 0);
        if (!isSane)
            throw new LabException(
                $"{name} is a damaged Linux kernel: the addresses in its header make no sense. Fetch it again.");
    }

    static LabException Truncated(string name, long given, ulong needed) =>
        new(
            $"{name} is a truncated Linux kernel: it has {given:N0} bytes, and its header speaks of {needed:N0}. "
            + "Fetch it again.");

    static LabException Truncated(string name, long given, int needed) => Truncated(name, given, (ulong)needed);

    static ushort Word(ReadOnlySpan<byte> image, int offset) =>
        BinaryPrimitives.ReadUInt16LittleEndian(image[offset..]);

    static uint Long(ReadOnlySpan<byte> image, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(image[offset..]);
}
