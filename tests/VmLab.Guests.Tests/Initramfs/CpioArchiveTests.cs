using System.Globalization;
using System.Text;
using CsCheck;
using VmLab.Guests.Initramfs;
using VmLab.Guests.Linux;

namespace VmLab.Guests.Tests.Initramfs;

public sealed class CpioArchiveTests
{
    [Test]
    public void Archive_holds_what_was_added()
    {
        var archive = new CpioArchive();
        archive.Add("dev", 0x41ED, []);
        archive.Add("dev/console", 0x2180, [], (5, 1));
        archive.Add("init", 0x81ED, "#!/bin/sh\n"u8);

        Entry[] entries = [.. Read(archive.Finish())];

        Assert.That(
            entries.Select(entry => entry.Path), Is.EqualTo((string[])["dev", "dev/console", "init", "TRAILER!!!"]));
        Assert.That(entries[1].Field(9), Is.EqualTo(5));
        Assert.That(entries[1].Field(10), Is.EqualTo(1));
        Assert.That(entries[2].Field(1), Is.EqualTo(0x81ED));
        Assert.That(entries[2].Content, Is.EqualTo("#!/bin/sh\n"u8.ToArray()));
    }

    [Test]
    public void Times_and_owners_are_nobodys_and_inodes_are_numbered()
    {
        var archive = new CpioArchive();
        archive.Add("a", 0x81A4, [1]);
        archive.Add("b", 0x81A4, [2]);

        Entry[] entries = [.. Read(archive.Finish()).SkipLast(1)];

        Assert.That(entries.Select(entry => entry.Field(0)), Is.EqualTo((int[])[1, 2]));
        Assert.That(entries.Select(entry => entry.Field(2) + entry.Field(3) + entry.Field(5)), Is.All.Zero);
    }

    [Test]
    public void Any_content_comes_back_and_passes_the_check() =>
        Gen.Select(Gen.String[Gen.Char.AlphaNumeric, 1, 40], Gen.Byte.Array[0, 100]).Array[0, 10].Sample(files =>
        {
            var archive = new CpioArchive();
            foreach ((string path, byte[] content) in files) archive.Add(path, 0x81A4, content);
            byte[] bytes = archive.Finish();
            InitrdCheck.RequireWhole(bytes, "the archive");
            IEnumerable<byte[]> contents = Read(bytes).SkipLast(1).Select(entry => entry.Content);
            return bytes.Length % 512 == 0
                && contents.Zip(files, (content, file) => content.AsSpan().SequenceEqual(file.Item2)).All(same => same);
        });

    internal readonly record struct Entry(string Path, string Header, byte[] Content)
    {
        /// <summary>By their order after the magic: inode, mode, owner, group, links, time, size, device twice, node
        /// twice, name's size.</summary>
        public int Field(int index) =>
            int.Parse(Header.AsSpan(6 + 8 * index, 8), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
    }

    internal static IEnumerable<Entry> Read(byte[] archive)
    {
        string path = "";
        for (int at = 0; path != "TRAILER!!!";)
        {
            var head = new Entry("", Encoding.ASCII.GetString(archive, at, 110), []);
            Assert.That(head.Header, Does.StartWith("070701"));
            path = Encoding.UTF8.GetString(archive, at + 110, head.Field(11) - 1);
            int content = Align(at + 110 + head.Field(11));
            yield return new(path, head.Header, archive[content..(content + head.Field(6))]);
            at = Align(content + head.Field(6));
        }
    }

    static int Align(int position) => (position + 3) & ~3;
}
