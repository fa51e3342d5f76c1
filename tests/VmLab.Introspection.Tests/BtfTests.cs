using System.Text;
using CsCheck;

namespace VmLab.Introspection.Tests;

public sealed class BtfTests
{
    /// <summary>struct module { 1: int state at 0, ..., 2: char name[56] at 24 }, after an int and an array type.</summary>
    static readonly byte[] s_types = Build(
        [Word(1), Word(1 << 24), Word(4), Word(0x0100_0020)],                                     // 1: int
        [Word(0), Word(3 << 24), Word(0), Word(1), Word(1), Word(56)],                            // 2: array of 56
        [Word(5), Word(4 << 24 | 2), Word(80), Word(12), Word(1), Word(0), Word(18), Word(2), Word(24 * 8)],   // 3: struct
        [Word(5), Word(7 << 24), Word(0)]);                                                       // 4: forward

    [Test]
    public void A_member_has_a_place_and_a_type()
    {
        Btf types = Btf.TryParse(s_types)!;

        Assert.That(types.Find("module", "name"), Is.EqualTo(new Btf.Member(24, 2)));
        Assert.That((types.SizeOf("module"), types.LengthOf(2)), Is.EqualTo((80, 56)));
    }

    [TestCase("module", "nam")]
    [TestCase("module", "names")]
    [TestCase("modul", "name")]
    [TestCase("int", "name")]
    public void What_is_not_there_is_not_found(string structure, string member) =>
        Assert.That(Btf.TryParse(s_types)!.Find(structure, member), Is.Null);

    [Test]
    public void Damaged_types_never_throw() => Gen.Select(Gen.Int[0, s_types.Length - 1], Gen.Byte).Array[1, 10].Sample(damages =>
    {
        byte[] damaged = [.. s_types];
        foreach (var (at, value) in damages) damaged[at] = value;
        Btf? types = Btf.TryParse(damaged);
        types?.Find("module", "name");
        types?.SizeOf("module");
        types?.LengthOf(2);
    }, iter: 20_000, threads: 1);

    static byte[] Build(params byte[][][] types)
    {
        byte[] body = [.. types.SelectMany(type => type.SelectMany(word => word))];
        byte[] strings = Encoding.ASCII.GetBytes("\0int\0module\0state\0name\0");
        return [.. BitConverter.GetBytes(0x0001_EB9F), .. Word(24), .. Word(0), .. Word(body.Length), .. Word(body.Length), .. Word(strings.Length),
            .. body, .. strings];
    }

    static byte[] Word(int value) => BitConverter.GetBytes(value);
}
