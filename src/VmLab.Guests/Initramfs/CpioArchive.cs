using System.Globalization;
using System.Text;

namespace VmLab.Guests.Initramfs;

/// <summary>Writes the archive format of initramfs: cpio, "newc".</summary>
/// <remarks>
/// Equal entries give equal bytes: numbered inodes, no times, owner root. Source: Linux,
/// Documentation/driver-api/early-userspace/buffer-format.rst.
/// </remarks>
sealed class CpioArchive
{
    public const int Alignment = 4;

    const int Trailing = 512;
    const string Magic = "070701", Trailer = "TRAILER!!!";

    readonly MemoryStream _bytes = new();
    uint _inode;

    /// <param name="path">Relative to the root, without a leading slash; parents come before children.</param>
    /// <param name="mode">File type and permissions, as in stat.</param>
    /// <param name="content">Of a file its bytes, of a symbolic link its target.</param>
    /// <param name="device">Major and minor number of a device file.</param>
    public void Add(string path, uint mode, ReadOnlySpan<byte> content, (uint Major, uint Minor) device = default) =>
        Write(path, ++_inode, mode, content, device);

    /// <summary>Ends the archive, and returns it.</summary>
    public byte[] Finish()
    {
        Write(Trailer, inode: 0, mode: 0, content: default, device: default);
        Pad(Trailing);
        return _bytes.ToArray();
    }

    void Write(string path, uint inode, uint mode, ReadOnlySpan<byte> content, (uint Major, uint Minor) device)
    {
        byte[] name = [.. Encoding.UTF8.GetBytes(path), 0];
        ReadOnlySpan<uint> fields =
        [
            inode, mode, 0, 0, 1, 0, (uint)content.Length,          // owner, group, links, time, size
            0, 0, device.Major, device.Minor,                       // device it lies on, device it is
            (uint)name.Length, 0,                                   // name, no checksum
        ];
        var header = new StringBuilder(Magic);
        foreach (uint field in fields) header.Append(CultureInfo.InvariantCulture, $"{field:X8}");
        _bytes.Write(Encoding.ASCII.GetBytes(header.ToString()));
        _bytes.Write(name);
        Pad(Alignment);
        _bytes.Write(content);
        Pad(Alignment);
    }

    void Pad(int alignment)
    {
        while (_bytes.Length % alignment != 0) _bytes.WriteByte(0);
    }
}
