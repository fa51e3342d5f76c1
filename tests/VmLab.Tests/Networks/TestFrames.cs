using VmLab.Core;

namespace VmLab.Tests.Networks;

/// <summary>Frames for tests: between numbered machines of the first network, filled with one value.</summary>
static class TestFrames
{
    public static readonly MacAddress Server = new(0x5254_0000_00FE);

    /// <param name="number">From 1.</param>
    public static MacAddress Card(int number) => new(0x5254_0000_0000 + (ulong)number);

    public static byte[] From(int sender, MacAddress to, int length = 60, byte value = 0)
    {
        byte[] frame = new byte[length];
        Array.Fill(frame, value);
        to.Write(frame);
        Card(sender).Write(frame.AsSpan(6));
        (frame[12], frame[13]) = (0x88, 0xB5);      // for experiments: IEEE 802, clause 9.2
        return frame;
    }

    public static Values<byte> Values(byte[] frame) => new(frame);
}
