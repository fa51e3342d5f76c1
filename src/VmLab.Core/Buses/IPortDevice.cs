namespace VmLab.Core;

/// <summary>A device behind I/O ports. It knows offsets only; where they lie is the machine's affair.</summary>
public interface IPortDevice
{
    /// <param name="offset">From the first port of the device's range.</param>
    /// <param name="width">1, 2 or 4 bytes; the access lies inside the range.</param>
    uint Read(int offset, int width);

    /// <inheritdoc cref="Read"/>
    void Write(int offset, int width, uint value);
}

/// <summary>
/// A device whose registers are a byte wide, as most are: a wider access is that many byte accesses, lowest first.
/// </summary>
public interface IBytePortDevice : IPortDevice
{
    byte Read(int offset);

    void Write(int offset, byte value);

    uint IPortDevice.Read(int offset, int width)
    {
        uint value = 0;
        for (int i = 0; i < width; i++) value |= (uint)Read(offset + i) << 8 * i;
        return value;
    }

    void IPortDevice.Write(int offset, int width, uint value)
    {
        for (int i = 0; i < width; i++) Write(offset + i, (byte)(value >> 8 * i));
    }
}
