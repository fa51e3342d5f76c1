using CsCheck;
using VmLab.Guests.Packages;

namespace VmLab.Guests.Tests.Packages;

public sealed class ControlFieldsTests
{
    [Test]
    public void Paragraphs_with_continued_lines_are_read()
    {
        var paragraphs = ControlFields.ParseAll("Package: a\nDepends: b,\n c\nSize: 5\n\n\nPackage: d\r\n").ToArray();

        Assert.That(paragraphs.Select(fields => fields["package"]), Is.EqualTo((string[])["a", "d"]));
        Assert.That(paragraphs[0]["Depends"], Is.EqualTo("b,\nc"));
    }

    [Test]
    public void Paragraph_that_does_not_say_where_to_get_it_is_no_package()
    {
        var installed = ControlFields.Parse("Package: a\nVersion: 1\nArchitecture: amd64\nStatus: installed\n");

        Assert.That(PackageRecord.FromFields(installed), Is.Null);
    }

    [Test]
    public void File_name_escapes_the_epoch_as_apt_does() =>
        Assert.That(
            new PackageRecord("busybox-static", "1:1.35.0-4+deb12u1+b1", "amd64", [], "", 0).FileName,
            Is.EqualTo("busybox-static_1%3a1.35.0-4+deb12u1+b1_amd64.deb"));

    [Test]
    public void Any_text_is_read_somehow() =>
        Gen.String[Gen.Char["aB: \n\t\r|,()"], 0, 80].Sample(
            text => ControlFields.ParseAll(text).All(fields => fields.Count > 0));
}
