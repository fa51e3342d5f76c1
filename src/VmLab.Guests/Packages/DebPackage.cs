using System.Formats.Tar;
using System.Globalization;
using System.Text;
using VmLab.Guests.Compression;

namespace VmLab.Guests.Packages;

/// <summary>What a package puts at a path.</summary>
enum PackagedKind { Directory, File, SymbolicLink, HardLink }

/// <param name="Path">Relative to the root, without a leading slash.</param>
/// <param name="Mode">The low twelve bits of a mode.</param>
/// <param name="Content">Bytes of a file; empty otherwise.</param>
/// <param name="Target">Of a link: of a symbolic one as it is written, of a hard one relative to the root.</param>
sealed record PackagedFile(string Path, PackagedKind Kind, uint Mode, byte[] Content, string Target);

/// <summary>A Debian binary package (.deb): an ar archive of a control archive and a data archive.</summary>
/// <remarks>Source: Debian, deb(5), deb-control(5); ar format as in System V, with names of up to 16
/// characters.</remarks>
sealed class DebPackage
{
    const int MemberHeaderSize = 60, NameSize = 16, SizeOffset = 48, SizeSize = 10, EndOffset = 58;

    static readonly byte[] s_magic = "!<arch>\n"u8.ToArray(), s_headerEnd = "`\n"u8.ToArray();

    readonly byte[] _bytes;
    readonly string _name;
    readonly Dictionary<string, Range> _members;

    DebPackage(byte[] bytes, string name, Dictionary<string, Range> members)
    {
        _bytes = bytes;
        _name = name;
        _members = members;
    }

    /// <param name="name">How messages call the package: its file name.</param>
    /// <exception cref="LabException">It is no Debian package, or truncated.</exception>
    public static DebPackage Parse(byte[] bytes, string name)
    {
        if (!bytes.AsSpan().StartsWith(s_magic)) throw new LabException($"{name} is not a Debian package.");
        var members = new Dictionary<string, Range>();
        for (int position = s_magic.Length; position < bytes.Length;)
        {
            ReadOnlySpan<byte> header = bytes.AsSpan(position);
            if (header.Length < MemberHeaderSize || !header[EndOffset..].StartsWith(s_headerEnd)) throw Damaged(name);
            string memberName = Encoding.ASCII.GetString(header[..NameSize]).TrimEnd(' ').TrimEnd('/');
            string sizeText = Encoding.ASCII.GetString(header.Slice(SizeOffset, SizeSize)).TrimEnd(' ');
            int start = position + MemberHeaderSize;
            if (!int.TryParse(sizeText, NumberStyles.None, CultureInfo.InvariantCulture, out int size)
                || size > bytes.Length - start)
                throw Damaged(name);
            members[memberName] = start..(start + size);
            position = start + size + (size & 1);
        }
        return new DebPackage(bytes, name, members);
    }

    /// <summary>The fields of the package's control file, such as Package, Version, Depends.</summary>
    public IReadOnlyDictionary<string, string> Control()
    {
        foreach (PackagedFile file in ReadTar("control.tar"))
            if (file.Path == "control") return ControlFields.Parse(Encoding.UTF8.GetString(file.Content));
        throw Damaged(_name);
    }

    /// <summary>What the package installs, in its own order. Devices and the like, which no package needs, are left
    /// out.</summary>
    /// <exception cref="LabException">The package is damaged.</exception>
    public IEnumerable<PackagedFile> Files() => ReadTar("data.tar");

    List<PackagedFile> ReadTar(string memberName)
    {
        (string name, Range range) = _members.FirstOrDefault(
            member => member.Key.StartsWith(memberName, StringComparison.Ordinal));
        if (name is null) throw Damaged(_name);
        byte[] member = _bytes[range];
        byte[] tar = name == memberName ? member : Unpacker.Unpack(member, $"{name} of {_name}");
        try
        {
            return ReadEntries(tar);
        }
        catch (Exception damage) when (damage is not OutOfMemoryException)
        {
            // As with unpacking, what a reader throws on damaged data is all one to the user.
            throw new LabException(
                $"{_name} is a damaged Debian package: {damage.Message} Remove it from the cache and fetch it again.",
                damage);
        }
    }

    static List<PackagedFile> ReadEntries(byte[] tar)
    {
        using var reader = new TarReader(new MemoryStream(tar));
        var files = new List<PackagedFile>();
        while (reader.GetNextEntry() is { } entry)
        {
            PackagedKind? kind = entry.EntryType switch
            {
                TarEntryType.Directory => PackagedKind.Directory,
                TarEntryType.RegularFile or TarEntryType.V7RegularFile => PackagedKind.File,
                TarEntryType.SymbolicLink => PackagedKind.SymbolicLink,
                TarEntryType.HardLink => PackagedKind.HardLink,
                _ => null,
            };
            if (kind is { } known)
                files.Add(new(Relative(entry.Name), known, (uint)entry.Mode & 0xFFF, Content(entry), Target(entry)));
        }
        return files;
    }

    static byte[] Content(TarEntry entry)
    {
        if (entry.DataStream is not { } stream) return [];
        byte[] bytes = new byte[entry.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }

    static string Target(TarEntry entry) =>
        entry.EntryType == TarEntryType.HardLink ? Relative(entry.LinkName) : entry.LinkName ?? "";

    static string Relative(string path) =>
        (path.StartsWith("./", StringComparison.Ordinal) ? path[2..] : path).Trim('/');

    static LabException Damaged(string name) =>
        new($"{name} is a damaged Debian package. Remove it from the cache and fetch it again.");
}
