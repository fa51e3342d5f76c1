using System.Formats.Tar;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using VmLab.Guests.Packages;

namespace VmLab.Guests.Tests;

/// <summary>Small Debian packages made for a test, and what they hold.</summary>
static class TestPackages
{
    /// <summary>Has the list of applets that a real one has, and nothing else.</summary>
    public static readonly byte[] Busybox =
        Encoding.ASCII.GetBytes("\u007FELF...\0[\0[[\0ash\0init\0mount\0sh\0\0more");

    public sealed record Deb(string Name, string Version, string Depends, byte[] Bytes, string Architecture = "amd64")
    {
        public PackageRecord Record => PackageRecord.FromFields(ControlFields.Parse(
            $"""
            Package: {Name}
            Version: {Version}
            Architecture: {Architecture}
            Depends: {Depends}
            Size: {Bytes.Length}
            SHA256: {Convert.ToHexStringLower(SHA256.HashData(Bytes))}
            """))!;
    }

    /// <param name="files">Paths with contents; "path -> target" makes a symbolic link.</param>
    public static Deb Make(string name, string version, string depends, params (string Path, byte[] Content)[] files) =>
        new(name, version, depends, Ar(
            ("debian-binary", "2.0\n"u8.ToArray()),
            ("control.tar.gz", TestKernel.Gzip(Tar(("./control", Control(name, version, depends))))),
            ("data.tar.gz", TestKernel.Gzip(Tar(files)))));

    static byte[] Control(string name, string version, string depends) =>
        Encoding.ASCII.GetBytes($"Package: {name}\nVersion: {version}\nDepends: {depends}\n");

    public static byte[] Ar(params (string Name, byte[] Content)[] members)
    {
        var archive = new MemoryStream();
        archive.Write("!<arch>\n"u8);
        foreach ((string name, byte[] content) in members)
        {
            string header = string.Create(
                CultureInfo.InvariantCulture, $"{name,-16}{0,-12}{0,-6}{0,-6}{"100644",-8}{content.Length,-10}`\n");
            archive.Write(Encoding.ASCII.GetBytes(header));
            archive.Write(content);
            if (content.Length % 2 == 1) archive.WriteByte((byte)'\n');
        }
        return archive.ToArray();
    }

    public static byte[] Tar(params (string Path, byte[] Content)[] files)
    {
        var bytes = new MemoryStream();
        using (var tar = new TarWriter(bytes, TarEntryFormat.Gnu, leaveOpen: true))
            foreach ((string path, byte[] content) in files)
                tar.WriteEntry(path.Split(" -> ") is [var link, var target]
                    ? new GnuTarEntry(TarEntryType.SymbolicLink, link) { LinkName = target }
                    : new GnuTarEntry(TarEntryType.RegularFile, path)
                    {
                        DataStream = new MemoryStream(content),
                        Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute,
                    });
        return bytes.ToArray();
    }

    /// <summary>A module with the one section that tells what it needs.</summary>
    public static byte[] Module(string depends)
    {
        byte[] information = Encoding.ASCII.GetBytes($"license=GPL\0depends={depends}\0vermagic=6.1\0");
        byte[] names = "\0.shstrtab\0.modinfo\0"u8.ToArray();
        const int Header = 64;
        int table = Header + names.Length + information.Length;
        byte[] module = new byte[table + 3 * 64];
        "\u007FELF"u8.CopyTo(module);
        module[4] = 2;
        names.CopyTo(module, Header);
        information.CopyTo(module, Header + names.Length);
        TestKernel.Put(module, 40, 8, (ulong)table);
        TestKernel.Put(module, 58, 2, 64);
        TestKernel.Put(module, 60, 2, 3);
        TestKernel.Put(module, 62, 2, 1);
        Section(1, name: 1, Header, names.Length);
        Section(2, name: 11, Header + names.Length, information.Length);
        return module;

        void Section(int index, uint name, int offset, int size)
        {
            TestKernel.Put(module, table + index * 64, 4, name);
            TestKernel.Put(module, table + index * 64 + 24, 8, (ulong)offset);
            TestKernel.Put(module, table + index * 64 + 32, 8, (ulong)size);
        }
    }
}
