using VmLab.Guests.Acpi;

namespace VmLab.Guests.Tests.Acpi;

public sealed class AmlWriterTests
{
    [TestCase(0u, "00")]
    [TestCase(1u, "01")]
    [TestCase(2u, "0A02")]
    [TestCase(0x1234u, "0B3412")]
    [TestCase(0x12345678u, "0C78563412")]
    public void Integer_takes_its_shortest_form(uint value, string expected) =>
        Assert.That(Hex(new AmlWriter().Integer(value)), Is.EqualTo(expected));

    [Test]
    public void Identifiers_are_compressed() =>
        Assert.That(Hex(new AmlWriter().EisaId("PNP0A03")), Is.EqualTo("0C41D00A03"));

    [Test]
    public void Name_holds_a_package() =>
        Assert.That(
            Hex(new AmlWriter().Name(@"\_S5", value => value.Package(a => a.Integer(5), b => b.Integer(0)))),
            Is.EqualTo("085C5F53355F1205020A0500"));

    // The length counts its own bytes: up to 63 one, then two up to 4095.
    [TestCase(60, "113F0A3C")]
    [TestCase(61, "1141040A3D")]
    [TestCase(255, "1143100AFF")]
    [TestCase(4000, "1145FA0BA00F")]
    [TestCase(5000, "118E38010B8813")]
    public void Length_of_a_buffer_takes_as_many_bytes_as_it_needs(int size, string start) =>
        Assert.That(Hex(new AmlWriter().Buffer(new byte[size])), Does.StartWith(start));

    static string Hex(AmlWriter writer) => Convert.ToHexString(writer.ToArray());
}
