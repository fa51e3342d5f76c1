using System.Globalization;
using System.Text;

namespace VmLab.Machines.Gdb;

/// <summary>Packets of gdb's remote serial protocol over a stream, hostile bytes included.</summary>
/// <remarks>
/// A packet is a string of characters 0 to 255. Run-length encoding is not used. What is broken is refused with '-', as long as
/// acknowledgements are on, and else left out; a peer that sends too much, or is gone, ends the stream.
/// Source: Debugging with GDB, appendix E.1 "Overview", E.9 "Packet Acknowledgment".
/// </remarks>
public sealed class PacketStream(Stream stream)
{
    /// <summary>The longest packet, in bytes between '$' and '#', in either direction.</summary>
    public const int LongestPacket = 0x4000;

    /// <summary>What <see cref="Read"/> returns for the byte that asks a running machine to stop.</summary>
    public const string Interrupt = "\u0003";

    const int MostNoise = 2 * LongestPacket, MostRepeats = 16;

    readonly byte[] _buffer = new byte[4096];
    string _last = "";
    int _next, _end;

    /// <summary>Packets are acknowledged, which a reliable connection can do without.</summary>
    public bool Acknowledges { get; set; } = true;

    /// <summary>Bytes were received that no <see cref="Read"/> has taken yet.</summary>
    public bool HasBuffered => _next < _end;

    /// <summary>Waits for the next packet.</summary>
    /// <returns>Its characters, unescaped, or <see cref="Interrupt"/>; <see langword="null"/>: the peer is gone.</returns>
    public string? Read()
    {
        int repeats = 0;
        for (int noise = 0; noise < MostNoise; noise++)
        {
            switch (ReadByte())
            {
                case -1: return null;
                case 3: return Interrupt;
                case '-' when Acknowledges && ++repeats <= MostRepeats: Write(_last); break;
                case '$':
                    if (!TryReadBody(out string? packet)) return null;
                    if (packet is not null) return packet;
                    if (Acknowledges) Write("-");
                    break;
            }
        }
        return null;
    }

    /// <param name="packet">Characters 0 to 255; those that the protocol uses itself are escaped.</param>
    /// <returns><see langword="false"/>: the peer is gone.</returns>
    public bool Send(string packet)
    {
        var text = new StringBuilder("$", packet.Length + 8);
        int sum = 0;
        foreach (char character in packet)
        {
            if (character is '#' or '$' or '}' or '*')
            {
                text.Append('}').Append((char)(character ^ 0x20));
                sum += '}' + (character ^ 0x20);
            }
            else
            {
                text.Append(character);
                sum += character;
            }
        }
        _last = text.Append('#').Append(((byte)sum).ToString("x2", CultureInfo.InvariantCulture)).ToString();
        return Write(_last);
    }

    /// <summary>Reads up to the checksum.</summary>
    /// <param name="packet"><see langword="null"/>: it was broken.</param>
    /// <returns><see langword="false"/>: the peer is gone, or sends more than a packet may hold.</returns>
    bool TryReadBody(out string? packet)
    {
        packet = null;
        var text = new StringBuilder();
        int sum = 0;
        bool isEscaped = false;
        for (int length = 0; length <= LongestPacket; length++)
        {
            int value = ReadByte();
            if (value < 0) return false;
            if (value == '#') return TryReadChecksum((byte)sum, isEscaped ? null : text.ToString(), out packet);
            if (value == '$')   // the last one was cut off
            {
                (sum, isEscaped, length) = (0, false, 0);
                text.Clear();
                continue;
            }
            sum += value;
            if (!isEscaped && value == '}')
            {
                isEscaped = true;
                continue;
            }
            text.Append((char)(isEscaped ? value ^ 0x20 : value));
            isEscaped = false;
        }
        return false;
    }

    bool TryReadChecksum(byte sum, string? text, out string? packet)
    {
        packet = null;
        int high = ReadByte(), low = ReadByte();
        if (high < 0 || low < 0) return false;
        bool isNumber = byte.TryParse([(char)high, (char)low], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte told);
        if (Acknowledges && (!isNumber || told != sum)) return true;
        packet = text;
        return packet is null || !Acknowledges || Write("+");
    }

    int ReadByte()
    {
        if (_next == _end)
        {
            try
            {
                (_next, _end) = (0, stream.Read(_buffer));
            }
            catch (Exception gone) when (gone is IOException or ObjectDisposedException)
            {
                _end = 0;
            }
            if (_end == 0) return -1;
        }
        return _buffer[_next++];
    }

    bool Write(string text)
    {
        try
        {
            stream.Write(Encoding.Latin1.GetBytes(text));
            stream.Flush();
            return true;
        }
        catch (Exception gone) when (gone is IOException or ObjectDisposedException)
        {
            return false;
        }
    }
}
