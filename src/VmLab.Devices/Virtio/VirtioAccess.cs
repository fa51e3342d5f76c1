using System.Buffers.Binary;
using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>The capability through which a driver without memory accesses reaches a device's registers.</summary>
/// <remarks>
/// The driver sets a range, an offset and a length of 1, 2 or 4; then the capability's data are the register.
/// Source: VIRTIO 1.2, §4.1.4.9 (PCI configuration access capability).
/// </remarks>
sealed class VirtioAccess(PciFunction function, int capability, IMmioDevice range, ulong rangeSize)
{
    const int Bar = 4, Offset = 8, Length = 12, Data = 16, DataSize = 4;

    /// <summary>What the driver may write of the capability, from its byte 2 on.</summary>
    public static ReadOnlySpan<byte> Writable =>
        [0, 0, 0xFF, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

    /// <summary>To be called before the guest reads configuration space.</summary>
    public void ConfigReading(int offset, int width)
    {
        if (!TouchesData(offset, width) || Selected is not (var register, var length)) return;
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, range.Read(register, length));
        function.Set(capability + Data, bytes[..length]);
    }

    /// <summary>To be called when the guest has written configuration space.</summary>
    public void ConfigWritten(int offset, int width)
    {
        if (!TouchesData(offset, width) || Selected is not (var register, var length)) return;
        uint value = Field(Data);
        range.Write(register, length, length == 4 ? value : value & (1U << 8 * length) - 1);
    }

    (ulong Register, int Length)? Selected
    {
        get
        {
            (uint register, uint length) = (Field(Offset), Field(Length));
            bool isSound = length is 1 or 2 or 4 && register % length == 0 && register + (ulong)length <= rangeSize;
            return isSound && function.Peek(capability + Bar, 1)[0] == 0 ? (register, (int)length) : null;
        }
    }

    uint Field(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(function.Peek(capability + offset, 4));

    bool TouchesData(int offset, int width)
    {
        int first = capability + Data;
        return offset < first + DataSize && first < offset + width;
    }
}
