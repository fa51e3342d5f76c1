using System.Text;
using VmLab.Guests.Initramfs;

namespace VmLab.Guests.Tests.Initramfs;

[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
public sealed class RootTreeTests
{
    readonly RootTree _root = new();

    [Test]
    public void Old_and_new_layouts_end_up_in_usr()
    {
        _root.AddFile("./bin/ls", 0x1ED, "old");
        _root.AddFile("/usr/sbin/ip", 0x1ED, "new");
        _root.AddFile("lib/x86_64-linux-gnu/libc.so.6", 0x1A4, "library");

        Assert.That(
            Paths(), Is.SupersetOf((string[])["usr/bin/ls", "usr/sbin/ip", "usr/lib/x86_64-linux-gnu/libc.so.6"]));
        Assert.That(Link("bin"), Is.EqualTo("usr/bin"));
        Assert.That(Link("lib64"), Is.EqualTo("usr/lib64"));
        Assert.That(_root.Contains("bin/ls") && _root.Contains("usr/bin/ls"), Is.True);
    }

    [Test]
    public void Directories_of_a_package_do_not_replace_the_links()
    {
        _root.AddDirectory("bin");
        _root.AddDirectory("./");

        Assert.That(Link("bin"), Is.EqualTo("usr/bin"));
    }

    [Test]
    public void Parents_are_there_and_come_first()
    {
        _root.AddFile("srv/www/index.html", 0x1A4, "hello");

        string[] paths = [.. Paths()];

        Assert.That(paths, Is.SupersetOf((string[])["srv", "srv/www", "srv/www/index.html"]));
        Assert.That(paths, Is.Ordered.Using<string>(StringComparer.Ordinal));
    }

    [Test]
    public void Later_file_replaces_an_earlier_one()
    {
        _root.AddFile("etc/hosts", 0x1A4, "first");
        _root.AddFile("etc/hosts", 0x180, "second");

        CpioArchiveTests.Entry hosts = Entries().Single(entry => entry.Path == "etc/hosts");

        Assert.That(Encoding.UTF8.GetString(hosts.Content), Is.EqualTo("second"));
        Assert.That(hosts.Field(1), Is.EqualTo(0x8180));
    }

    [Test]
    public void Equal_trees_give_equal_bytes_whatever_the_order()
    {
        var other = new RootTree();
        _root.AddFile("a", 0x1A4, "a");
        _root.AddLink("b", "a");
        other.AddLink("b", "a");
        other.AddFile("a", 0x1A4, "a");

        Assert.That(other.ToCpio(), Is.EqualTo(_root.ToCpio()));
    }

    IEnumerable<CpioArchiveTests.Entry> Entries() => CpioArchiveTests.Read(_root.ToCpio()).SkipLast(1);

    IEnumerable<string> Paths() => Entries().Select(entry => entry.Path);

    string Link(string path) => Encoding.UTF8.GetString(Entries().Single(entry => entry.Path == path).Content);
}
