using System.Buffers.Binary;

namespace VmLab.Networks;

/// <summary>Writes frames to a file that Wireshark and tcpdump open: pcap with nanoseconds, from the lab's start.</summary>
/// <remarks>Source: IETF draft-ietf-opsawg-pcap, "PCAP Capture File Format", §4 (file header), §5 (records).</remarks>
sealed class PcapWriter : IDisposable
{
    const uint NanosecondMagic = 0xA1B2_3C4D, Version = 0x0004_0002, LongestFrame = 262_144, Ethernet = 1;
    const ulong NanosecondsOfSecond = 1_000_000_000;

    readonly FileStream _file;

    /// <exception cref="LabException">The file cannot be written.</exception>
    public PcapWriter(string path)
    {
        try
        {
            _file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 1 << 16);
        }
        catch (Exception trouble) when (trouble is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"The frames cannot be written to {path}: {trouble.Message}", trouble);
        }
        Write(NanosecondMagic, Version, 0, 0, LongestFrame, Ethernet);
        Flush();
    }

    /// <param name="time">Lab time, in nanoseconds.</param>
    public void Add(ulong time, ReadOnlySpan<byte> frame)
    {
        Write((uint)(time / NanosecondsOfSecond), (uint)(time % NanosecondsOfSecond), (uint)frame.Length, (uint)frame.Length);
        _file.Write(frame);
    }

    /// <summary>Lets others read what was added.</summary>
    public void Flush() => _file.Flush();

    public void Dispose() => _file.Dispose();

    void Write(params ReadOnlySpan<uint> words)
    {
        Span<byte> bytes = stackalloc byte[4];
        foreach (uint word in words)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(bytes, word);
            _file.Write(bytes);
        }
    }
}
