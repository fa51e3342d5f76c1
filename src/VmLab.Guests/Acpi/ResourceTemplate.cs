using System.Buffers.Binary;

namespace VmLab.Guests.Acpi;

/// <summary>Lists the addresses that a device decodes or hands on, as _CRS tells them.</summary>
/// <remarks>Source: ACPI 6.4, §6.4 "Resource Data Types for ACPI".</remarks>
sealed class ResourceTemplate
{
    const byte MemoryKind = 0, PortKind = 1, BusKind = 2;

    // Minimum and maximum are fixed; the range is handed on (produced) to what lies behind.
    const byte FixedRange = 0x0C, WholeRange = 0x03, Writable = 0x01;

    readonly List<byte> _bytes = [];

    public ResourceTemplate BusNumbers(byte first, byte last) => WordRange(BusKind, 0, first, last);

    public ResourceTemplate Ports(ushort first, ushort last) => WordRange(PortKind, WholeRange, first, last);

    /// <summary>Ports that the device itself decodes.</summary>
    public ResourceTemplate OwnPorts(ushort first, byte count)
    {
        Span<byte> descriptor = [0x47, 0x01, 0, 0, 0, 0, 1, count];
        BinaryPrimitives.WriteUInt16LittleEndian(descriptor[2..], first);
        BinaryPrimitives.WriteUInt16LittleEndian(descriptor[4..], first);
        return Add(descriptor);
    }

    /// <summary>Memory that is handed on, anywhere in 64 bits.</summary>
    public ResourceTemplate Memory(ulong first, ulong length)
    {
        Span<byte> descriptor = stackalloc byte[46];                // QWord address space descriptor
        ReadOnlySpan<byte> head = [0x8A, 0x2B, 0, MemoryKind, FixedRange, Writable];
        head.CopyTo(descriptor);
        ReadOnlySpan<ulong> fields = [0, first, first + length - 1, 0, length];
        for (int i = 0; i < fields.Length; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(descriptor[(6 + 8 * i)..], fields[i]);
        return Add(descriptor);
    }

    /// <summary>Memory below 4 GiB that the device itself decodes.</summary>
    public ResourceTemplate OwnMemory(uint first, uint length)
    {
        Span<byte> descriptor = [0x86, 0x09, 0, Writable, 0, 0, 0, 0, 0, 0, 0, 0];
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[4..], first);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[8..], length);
        return Add(descriptor);
    }

    public byte[] ToArray() => [.. _bytes, 0x79, 0x00];             // end tag, no checksum

    ResourceTemplate WordRange(byte kind, byte flags, ushort first, ushort last)
    {
        Span<byte> descriptor = stackalloc byte[16];
        ReadOnlySpan<byte> head = [0x88, 0x0D, 0, kind, FixedRange, flags];
        head.CopyTo(descriptor);
        ReadOnlySpan<ushort> fields = [0, first, last, 0, (ushort)(last - first + 1)];
        for (int i = 0; i < fields.Length; i++)
            BinaryPrimitives.WriteUInt16LittleEndian(descriptor[(6 + 2 * i)..], fields[i]);
        return Add(descriptor);
    }

    ResourceTemplate Add(ReadOnlySpan<byte> descriptor)
    {
        _bytes.AddRange(descriptor);
        return this;
    }
}
