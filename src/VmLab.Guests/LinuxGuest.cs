using System.Text;
using VmLab.Core;
using VmLab.Guests.Acpi;
using VmLab.Guests.Linux;

namespace VmLab.Guests;

/// <summary>A Linux kernel with an optional initramfs and a command line, by the 64-bit Linux boot protocol.</summary>
/// <remarks>
/// The kernel is a bzImage (vmlinuz) as distributions package it, or a bare vmlinux, which lacks what it takes to move
/// it. The kernel's random numbers start from the machine's seed.
/// Source: Linux, Documentation/x86/boot.rst, "64-bit Boot Protocol".
/// </remarks>
public sealed class LinuxGuest : IBootable
{
    const int LongestBareCommandLine = 2047, Page = 4096;
    const string NoKaslr = "nokaslr";
    const ulong Entry64 = 0x200, HighestBareInitrd = 0x7FFF_FFFF;

    readonly byte[] _kernel;
    readonly byte[] _initrd;
    readonly string _name;
    readonly Lazy<BzImage?> _packaged;
    readonly Lazy<ElfImage> _unpacked;
    readonly Lazy<KernelRelocations?> _relocations;
    readonly Lazy<bool>? _checkInitrd;

    /// <param name="kernel">The bytes of a bzImage or a vmlinux.</param>
    /// <param name="initrd">The bytes of an initramfs; empty for none.</param>
    /// <param name="commandLine">ASCII, handed to the kernel as it is.</param>
    /// <param name="name">How messages call the kernel: its path, say.</param>
    public LinuxGuest(byte[] kernel, byte[] initrd, string commandLine, string name = "The kernel")
        : this(kernel, unpackedKernel: null, initrd, commandLine, name) =>
        _checkInitrd = new(() =>
        {
            InitrdCheck.RequireWhole(initrd, $"The initramfs of {name}");
            return true;
        });

    /// <summary>For parts known to be whole.</summary>
    /// <param name="unpackedKernel">What the bzImage unpacks to, where that is at hand.</param>
    internal LinuxGuest(byte[] kernel, Func<byte[]>? unpackedKernel, byte[] initrd, string commandLine, string name)
    {
        _kernel = kernel;
        _initrd = initrd;
        _name = name;
        CommandLine = commandLine;
        _packaged = new(() => ElfImage.IsElf(kernel) ? null : BzImage.Parse(kernel, name));
        _unpacked = new(() => ElfImage.Parse(
            _packaged.Value is { } image
                ? unpackedKernel?.Invoke() ?? KernelPayload.Unpack(image.Payload, name)
                : kernel, name));
        _relocations = new(() =>
            _packaged.Value is { IsRelocatable: true } ? KernelRelocations.Parse(_unpacked.Value.Appended) : null);
    }

    /// <summary>What the kernel is told, but for what <see cref="Kaslr"/> adds.</summary>
    public string CommandLine { get; }

    public KernelUnpacking Unpacking { get; init; } = KernelUnpacking.OnHost;

    public Kaslr Kaslr { get; init; } = Kaslr.Stock;

    public ulong? ContentHash =>
        new StateHash().Add(CommandLine).Add((ulong)Unpacking).Add((ulong)Kaslr).Add(_kernel).Add(_initrd).Value;

    /// <summary>Reads a kernel, and an initramfs where one is named, from files.</summary>
    /// <exception cref="LabException">A file cannot be read, or the initramfs is empty.</exception>
    public static LinuxGuest FromFiles(
        string kernelPath, string? initrdPath, string commandLine, Kaslr kaslr = Kaslr.Stock)
    {
        byte[] kernel = ReadFile(kernelPath, "kernel");
        byte[] initrd = initrdPath is null ? [] : ReadFile(initrdPath, "initramfs");
        if (initrdPath is not null && initrd.Length == 0)
            throw new LabException($"The initramfs {initrdPath} is empty. Leave it out, or build it again.");
        return new LinuxGuest(kernel, initrd, commandLine, kernelPath) { Kaslr = kaslr };
    }

    public BootEntry Load(GuestMemory memory, BootContext context)
    {
        _ = _checkInitrd?.Value;
        if (Kaslr == Kaslr.Seeded) RequireMovable();
        (ulong start, ulong end) = KernelExtent();
        ulong initrdAddress = PlaceInitrd(memory, end);
        byte[] commandLine = EncodeCommandLine();
        var parameters = new BootParameters(_packaged.Value is { } image ? image.Header : default);

        ulong entry = Unpacking == KernelUnpacking.InGuest
            ? LoadPacked(memory, start)
            : LoadUnpacked(memory, initrdAddress, context.Random.Child("kaslr"), parameters);
        memory.Write(initrdAddress, _initrd);
        memory.Write(BootLayout.CommandLine, commandLine);

        parameters.SetCommandLine(BootLayout.CommandLine);
        if (_initrd.Length > 0) parameters.SetInitrd(initrdAddress, _initrd.Length);
        parameters.SetAcpiRoot(AcpiTables.Write(memory, BootLayout.AcpiTables, context.Hardware));
        parameters.WriteSeed(memory, BootLayout.SetupData, context.Random.Child("linux boot seed"));
        AddRanges(parameters, memory, context.Hardware);
        parameters.Write(memory, BootLayout.BootParameters);

        return EntryTables.Write(memory, BootMode.Long64, entry) with { Rsi = BootLayout.BootParameters };
    }

    bool IsMoved => Kaslr != Kaslr.Off && !SaysNoKaslr;

    bool SaysNoKaslr => CommandLine.Split(' ').Contains(NoKaslr);

    void RequireMovable()
    {
        if (SaysNoKaslr)
            throw new LabException(
                $"The command line of {_name} says {NoKaslr}, and KASLR was asked for. Take back one of them.");
        if (_relocations.Value is null)
            throw new LabException(
                $"{_name} cannot be moved, as KASLR needs it: it was built without relocations, or is a bare vmlinux. "
                + "Give a packaged kernel with CONFIG_RANDOMIZE_BASE, or leave KASLR out.");
    }

    ulong LoadPacked(GuestMemory memory, ulong start)
    {
        memory.Write(start, Packaged().ProtectedModeKernel);
        return start + Entry64;
    }

    ulong LoadUnpacked(GuestMemory memory, ulong initrdAddress, Rng random, BootParameters parameters)
    {
        ElfImage kernel = _unpacked.Value;
        KernelRelocations? relocations = IsMoved ? _relocations.Value : null;
        if (relocations is null)
        {
            kernel.Load(memory, _name);
            return kernel.EntryAddress;
        }
        ulong initrdEnd = initrdAddress + (ulong)_initrd.Length, top = memory.Ranges.First().Length;
        KernelOffset offset = KernelOffset.Draw(
            kernel.Start, kernel.End - kernel.Start, Packaged().Alignment,
            [(BootLayout.HighStart, initrdAddress), (initrdEnd, top)], random);
        kernel.Load(memory, _name, offset.Physical);
        relocations.Apply(memory, kernel, offset, _name);
        parameters.SetRandomised();
        return kernel.EntryAddress + offset.Physical;
    }

    // From the lowest byte that the kernel uses to the first one past those it uses before it reads the memory map.
    (ulong Start, ulong End) KernelExtent()
    {
        ulong end = _packaged.Value is { } image ? image.LoadAddress + image.MemoryNeeded : 0;
        if (Unpacking == KernelUnpacking.InGuest)
        {
            ulong start = Packaged().LoadAddress;
            return (start, Math.Max(end, start + (ulong)Packaged().ProtectedModeKernel.Length));
        }
        ElfImage kernel = _unpacked.Value;
        return kernel.Start >= BootLayout.HighStart
            ? (kernel.Start, Math.Max(end, kernel.End))
            : throw new LabException(
                $"{_name} wants to be loaded at {kernel.Start:X}, below 1 MiB: it is no Linux kernel for PCs.");
    }

    BzImage Packaged() => _packaged.Value
        ?? throw new LabException(
            $"{_name} is a bare vmlinux, which has no decompressor to run in the guest. "
            + "Load it with unpacking on the host.");

    // As high as the kernel can reach, so that it is out of its way.
    ulong PlaceInitrd(GuestMemory memory, ulong kernelEnd)
    {
        ulong top =
            Math.Min(memory.Ranges.First().Length, (_packaged.Value?.HighestInitrdAddress ?? HighestBareInitrd) + 1UL);
        ulong size = ((ulong)_initrd.Length + Page - 1) & ~(ulong)(Page - 1);
        ulong needed = kernelEnd + size;
        if (needed > top)
            throw new LabException(
                $"{_name} needs at least {new ByteSize(needed)} of memory with its initramfs of "
                + $"{new ByteSize((ulong)_initrd.Length)}, and the machine has {memory.Size}. "
                + "Give the machine more memory.");
        return (top - size) & ~(ulong)(Page - 1);
    }

    byte[] EncodeCommandLine()
    {
        uint longest = _packaged.Value?.LongestCommandLine ?? LongestBareCommandLine;
        string commandLine = Kaslr == Kaslr.Off && !SaysNoKaslr ? $"{CommandLine} {NoKaslr}".TrimStart() : CommandLine;
        if (!Ascii.IsValid(commandLine) || commandLine.Contains('\0', StringComparison.Ordinal))
            throw new LabException(
                $"The command line of {_name} holds something else than ASCII text: \"{commandLine}\".");
        if (commandLine.Length > Math.Min(longest, BootLayout.LongestCommandLine))
            throw new LabException(
                $"The command line of {_name} has {commandLine.Length} characters, and the kernel takes {longest}.");
        return [.. Encoding.ASCII.GetBytes(commandLine), 0];
    }

    static void AddRanges(BootParameters parameters, GuestMemory memory, PcHardware hardware)
    {
        parameters.AddRange(0, BootLayout.LowEnd, BootParameters.RangeKind.Usable);
        const ulong LegacyHole = BootLayout.HighStart - BootLayout.LowEnd;      // where the ACPI tables are
        parameters.AddRange(BootLayout.LowEnd, LegacyHole, BootParameters.RangeKind.Reserved);
        foreach ((ulong start, ulong length) in memory.Ranges)
        {
            ulong first = Math.Max(start, BootLayout.HighStart);
            parameters.AddRange(first, start + length - first, BootParameters.RangeKind.Usable);
            if (start == 0 && hardware.PciConfiguration != 0)
                parameters.AddRange(
                    hardware.PciConfiguration, AcpiTables.PciConfigurationSize, BootParameters.RangeKind.Reserved);
        }
    }

    static byte[] ReadFile(string path, string what)
    {
        try
        {
            return File.ReadAllBytes(path);
        }
        catch (Exception cause) when (cause is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"The {what} {path} cannot be read: {cause.Message}", cause);
        }
    }
}
