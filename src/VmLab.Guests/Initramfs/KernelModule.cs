using System.Buffers.Binary;
using System.Text;

namespace VmLab.Guests.Initramfs;

/// <summary>A loadable module of the kernel, as far as it tells what it needs.</summary>
/// <param name="Path">Relative to the directory of the kernel's modules, and unpacked: it ends in ".ko".</param>
/// <remarks>Source: System V ABI, "Object Files", section headers; Linux, include/linux/moduleparam.h
/// (.modinfo).</remarks>
sealed record KernelModule(string Path, byte[] Content)
{
    const int SectionTable = 40, SectionHeaderSize = 58, SectionCount = 60, NameSection = 62, HeaderSize = 64;

    /// <summary>Its name as other modules and modprobe say it: without path and ending, with underscores.</summary>
    public string Name { get; } = NameOf(Path);

    /// <summary>Names of the modules that it needs.</summary>
    /// <exception cref="LabException">The module is damaged.</exception>
    public IReadOnlyList<string> Dependencies => All("depends").FirstOrDefault() is { Length: > 0 } list
        ? [.. list.Split(',').Select(name => name.Replace('-', '_'))]
        : [];

    /// <summary>Patterns of what the kernel may ask for when it means this module.</summary>
    /// <exception cref="LabException">The module is damaged.</exception>
    public IReadOnlyList<string> Aliases => [.. All("alias")];

    public static string NameOf(string path) => System.IO.Path.GetFileName(path).Split('.')[0].Replace('-', '_');

    // .modinfo is a list of zero-terminated "key=value".
    IEnumerable<string> All(string key) =>
        from line in Encoding.Latin1.GetString(Section(".modinfo")).Split('\0')
        where line.StartsWith(key + "=", StringComparison.Ordinal)
        select line[(key.Length + 1)..];

    ReadOnlySpan<byte> Section(string name)
    {
        if (!ElfImage.IsElf(Content) || Content.Length < HeaderSize) throw Damaged();
        int count = Word(SectionCount), size = Word(SectionHeaderSize), names = Word(NameSection);
        ulong table = Quad(SectionTable);
        if (size != 64 || names >= count
            || table > (ulong)Content.Length || (ulong)(count * size) > (ulong)Content.Length - table)
            throw Damaged();

        ReadOnlySpan<byte> strings = Bytes((int)table + names * size), wanted = Encoding.ASCII.GetBytes(name + '\0');
        for (int i = 0; i < count; i++)
        {
            int header = (int)table + i * size;
            uint nameOffset = BinaryPrimitives.ReadUInt32LittleEndian(Content.AsSpan(header));
            if (nameOffset < strings.Length && strings[(int)nameOffset..].StartsWith(wanted))
                return Bytes(header);
        }
        throw Damaged();
    }

    ReadOnlySpan<byte> Bytes(int header)
    {
        ulong offset = Quad(header + 24), length = Quad(header + 32);
        return offset <= (ulong)Content.Length && length <= (ulong)Content.Length - offset
            ? Content.AsSpan((int)offset, (int)length)
            : throw Damaged();
    }

    LabException Damaged() =>
        new($"The kernel module {Path} is damaged. Remove the kernel package from the cache and fetch it again.");

    ushort Word(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(Content.AsSpan(offset));

    ulong Quad(int offset) => BinaryPrimitives.ReadUInt64LittleEndian(Content.AsSpan(offset));
}
