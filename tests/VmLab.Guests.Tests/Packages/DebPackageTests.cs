using System.Text;
using CsCheck;
using VmLab.Guests.Packages;
using VmLab.Guests.Tests.Compression;

namespace VmLab.Guests.Tests.Packages;

public sealed class DebPackageTests
{
    static readonly byte[] s_deb = TestPackages.Make(
        "hello", "1.0-1", "libc6 (>= 2.34)",
        ("./usr/bin/hello", "#!/bin/sh\n"u8.ToArray()), ("./usr/bin/hi -> hello", [])).Bytes;

    [Test]
    public void Files_and_links_are_read()
    {
        PackagedFile[] files = [.. DebPackage.Parse(s_deb, "hello.deb").Files()];

        Assert.That(files[0].Path, Is.EqualTo("usr/bin/hello"));
        Assert.That(files[0].Mode, Is.EqualTo(0x1C0));
        Assert.That(Encoding.ASCII.GetString(files[0].Content), Is.EqualTo("#!/bin/sh\n"));
        Assert.That(
            (files[1].Path, files[1].Kind, files[1].Target),
            Is.EqualTo(("usr/bin/hi", PackagedKind.SymbolicLink, "hello")));
    }

    [Test]
    public void Control_fields_are_read() =>
        Assert.That(DebPackage.Parse(s_deb, "hello.deb").Control()["depends"], Is.EqualTo("libc6 (>= 2.34)"));

    [TestCase("data.tar")]
    [TestCase("data.tar.zst")]
    public void Data_may_be_packed_otherwise(string member)
    {
        byte[] tar = TestPackages.Tar(("./a", [1, 2, 3]));
        var packed = new Dictionary<string, byte[]>
        {
            ["data.tar"] = tar,
            ["data.tar.zst"] = UnpackerTests.Zstandard(tar),
        };

        DebPackage package = DebPackage.Parse(TestPackages.Ar((member, packed[member])), "a.deb");

        Assert.That(package.Files().Single().Content, Is.EqualTo((byte[])[1, 2, 3]));
    }

    [Test]
    public void What_is_no_package_is_refused() =>
        Assert.That(
            () => DebPackage.Parse("PK\x03\x04"u8.ToArray(), "a.zip"),
            Refused.Saying("a.zip is not a Debian package."));

    [Test]
    public void Truncated_package_is_refused() =>
        Assert.That(
            () => DebPackage.Parse(s_deb[..^30], "hello.deb"),
            Refused.Saying("damaged"));

    [Test]
    public void Damaged_package_never_gives_more_than_a_message() =>
        Damage.Of(s_deb).Sample(deb => Damage.IsRefusedAtMost(() => Read(deb)));

    [Test]
    public void Damaged_archive_within_never_gives_more_than_a_message() =>
        Damage.Of(TestPackages.Tar(("./a", new byte[700]), ("./b -> a", []))).Sample(tar => Damage.IsRefusedAtMost(() =>
            Read(TestPackages.Ar(("data.tar", tar)))));

    static void Read(byte[] deb) => _ = DebPackage.Parse(deb, "a.deb").Files().Count();
}
