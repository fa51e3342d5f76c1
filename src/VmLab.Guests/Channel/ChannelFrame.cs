using System.Buffers.Binary;
using System.IO.Hashing;

namespace VmLab.Guests.Channel;

/// <summary>How a frame of the command channel lies on the wire, in both directions.</summary>
/// <remarks>
/// A frame is kind, id, argument (32 bits each, little-endian), payload and a CRC-32 of all that, in the octet-stuffed
/// framing of asynchronous HDLC: a flag before and after, and inside an escape before each flag or escape. Since a flag
/// can be nothing else, whatever garbage comes before it is over with the next flag. Source: RFC 1662, §4 and appendix
/// C.3 (32-bit FCS).
/// </remarks>
static class ChannelFrame
{
    public const byte Flag = 0x7E, Escape = 0x7D, EscapeBit = 0x20;

    /// <summary>Bytes of kind, id and argument; of the checksum; and the most of a payload.</summary>
    public const int HeaderSize = 12, ChecksumSize = 4, MostPayload = 16 << 10;

    /// <summary>Most bytes of a frame between its flags, not counting escapes.</summary>
    public const int MostBytes = HeaderSize + MostPayload + ChecksumSize;

    /// <summary>What a CRC-32 comes to that runs over a frame and its checksum, before it is inverted.</summary>
    public const uint GoodChecksum = 0xDEBB_20E3;

    public static byte[] Encode(ChannelKind kind, uint id, uint argument, ReadOnlySpan<byte> payload)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(payload.Length, MostPayload);
        byte[] frame = new byte[HeaderSize + payload.Length + ChecksumSize];
        BinaryPrimitives.WriteUInt32LittleEndian(frame, (uint)kind);
        BinaryPrimitives.WriteUInt32LittleEndian(frame.AsSpan(4), id);
        BinaryPrimitives.WriteUInt32LittleEndian(frame.AsSpan(8), argument);
        payload.CopyTo(frame.AsSpan(HeaderSize));
        uint checksum = Crc32.HashToUInt32(frame.AsSpan(..^ChecksumSize));
        BinaryPrimitives.WriteUInt32LittleEndian(frame.AsSpan(frame.Length - ChecksumSize), checksum);

        var wire = new List<byte>(frame.Length + 16) { Flag };
        foreach (byte value in frame)
        {
            bool isSpecial = value is Flag or Escape;
            if (isSpecial) wire.Add(Escape);
            wire.Add(isSpecial ? (byte)(value ^ EscapeBit) : value);
        }
        wire.Add(Flag);
        return [.. wire];
    }
}
