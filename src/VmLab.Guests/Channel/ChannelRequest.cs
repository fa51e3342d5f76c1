using System.Text;

namespace VmLab.Guests.Channel;

/// <summary>What the lab asks of the agent in a guest, as bytes for the guest's second serial port.</summary>
/// <remarks>
/// Ids are the caller's; each is in use until its Exited, Stored, FileEnd or Failed comes back. The agent serves
/// <see cref="MostAtOnce"/> at a time. Bytes beyond what the guest has taken must wait: see
/// <see cref="ChannelOutbox"/>.
/// </remarks>
public static class ChannelRequest
{
    /// <summary>Commands and files under way at once, commands that ended but left something running counted
    /// in.</summary>
    public const int MostAtOnce = 32;

    /// <summary>Longest command or path, in bytes of UTF-8.</summary>
    public const int LongestText = ChannelFrame.MostPayload - 1;

    const int ChunkSize = 4096;
    const uint PermissionBits = 0xFFF;

    /// <summary>Asks for a Ready: to learn that the agent is there.</summary>
    public static byte[] Hello() => ChannelFrame.Encode(ChannelKind.Hello, 0, 0, []);

    /// <summary>Runs a command by /bin/sh, in / and with nothing on its standard input.</summary>
    /// <exception cref="LabException">The command is too long, or has a zero character in it.</exception>
    public static byte[] Run(uint id, string command) =>
        ChannelFrame.Encode(ChannelKind.Run, id, 0, Text(command, "command"));

    /// <summary>Writes a file, making the directories above it where they are missing.</summary>
    /// <param name="mode">Permissions; by default 644.</param>
    public static byte[] Put(uint id, string path, ReadOnlySpan<byte> content, uint mode = 0x1A4)
    {
        var frames = new MemoryStream();
        frames.Write(ChannelFrame.Encode(ChannelKind.Put, id, mode & PermissionBits, Text(path, "path")));
        for (int start = 0; start < content.Length; start += ChunkSize)
        {
            int length = Math.Min(ChunkSize, content.Length - start);
            frames.Write(ChannelFrame.Encode(ChannelKind.Data, id, 0, content.Slice(start, length)));
        }
        frames.Write(ChannelFrame.Encode(ChannelKind.End, id, (uint)content.Length, []));
        return frames.ToArray();
    }

    /// <summary>Reads a file.</summary>
    public static byte[] Get(uint id, string path) => ChannelFrame.Encode(ChannelKind.Get, id, 0, Text(path, "path"));

    /// <summary>Ends a command and what it started, or a transfer; one that is over already is no matter.</summary>
    public static byte[] Kill(uint id) => ChannelFrame.Encode(ChannelKind.Kill, id, 0, []);

    static byte[] Text(string text, string what)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        if (bytes.Length == 0) throw new LabException($"The {what} for the guest is empty.");
        if (bytes.Contains((byte)0))
            throw new LabException($"The {what} for the guest has a zero character in it: \"{text}\".");
        return bytes.Length <= LongestText
            ? bytes
            : throw new LabException(
                $"The {what} for the guest has {bytes.Length:N0} bytes, and {LongestText:N0} is the most. "
                + "Put it into a file.");
    }
}
