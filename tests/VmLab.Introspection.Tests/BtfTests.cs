using System.Text;
using CsCheck;

namespace VmLab.Introspection.Tests;

public sealed class BtfTests
{
    const int Int = 1, IntArray = 2, Inner = 4, Outer = 6, Pointer = 8, Long = 7;

    /// <summary>A type of every kind.</summary>
    static readonly byte[] s_types = Build(
        Type("int", BtfKind.Integer, 4, 0x0100_0020),                                           // 1
        Type("", BtfKind.Array, 0, Int, Int, 56),                                               // 2
        Type("int_t", BtfKind.Typedef, Int),                                                    // 3
        Type("inner", BtfKind.Structure, 8, 2, "a", 3, 0, "b", Int, 32),                        // 4
        Type("", BtfKind.Union, 8, 2, "whole", Long, 0, "parts", Inner, 0),                     // 5
        Fields("outer", 256, 5, "first", Int, 0, "", 5, 64, "low", Int, 3 << 24 | 128, "high", Int, 29 << 24 | 131, "name", IntArray, 192),   // 6
        Type("long", BtfKind.Integer, 8, 0x0100_0040),                                          // 7
        Type("", BtfKind.Pointer, Outer),                                                       // 8
        Type("", BtfKind.Constant, 3),                                                          // 9
        Type("", BtfKind.Volatile, 9),                                                          // 10
        Type("", BtfKind.Restrict, Pointer),                                                    // 11
        Type("ahead", BtfKind.Forward, 0),                                                      // 12
        Fields("state", BtfKind.Enumeration, 4, 2, "a", -1, "b", 7),                            // 13
        Type("wide", BtfKind.Enumeration64, 8, 1, "a", 5, 1),                                   // 14
        Type("", BtfKind.Prototype, Int, 1, "a", Int),                                          // 15
        Type("run", BtfKind.Function, 15),                                                      // 16
        Type("here", BtfKind.Variable, Outer, 1),                                               // 17
        Type(".data", BtfKind.DataSection, 256, 1, 17, 0, 256),                                 // 18
        Type("double", BtfKind.Float, 8),                                                       // 19
        Type("tag", BtfKind.DeclarationTag, Outer, -1),                                         // 20
        Type("rcu", BtfKind.TypeTag, Outer));                                                   // 21

    static readonly Btf s_btf = Btf.TryParse(s_types)!;

    [Test]
    public void Every_kind_is_read() => Assert.That(
        Enumerable.Range(1, s_btf.Count - 1).Select(s_btf.KindOf).Distinct(), Is.EquivalentTo(Enum.GetValues<BtfKind>().Skip(1)));

    [TestCase("outer", "first", 0, 32, Int)]
    [TestCase("outer", "whole", 64, 64, Long)]
    [TestCase("outer", "parts.b", 96, 32, Int)]
    [TestCase("outer", "low", 128, 3, Int)]
    [TestCase("outer", "high", 131, 29, Int)]
    [TestCase("outer", "name", 192, 56 * 32, IntArray)]
    public void A_member_has_a_place_a_width_and_a_type(string structure, string path, int bit, int width, int type) =>
        Assert.That(s_btf.Find(structure, path), Is.EqualTo(new BtfMember(bit, width, type)));

    [TestCase("outer", "nam")]
    [TestCase("outer", "parts.c")]
    [TestCase("outer", "first.a")]
    [TestCase("oute", "name")]
    [TestCase("int", "name")]
    [TestCase("ahead", "name")]
    [TestCase("outer", "")]
    public void What_is_not_there_is_not_found(string structure, string path) => Assert.That(s_btf.Find(structure, path), Is.Null);

    [TestCase(IntArray, 224)]
    [TestCase(Outer, 256)]
    [TestCase(Pointer, 8)]
    [TestCase(10, 4)]
    [TestCase(11, 8)]
    [TestCase(12, 0)]
    [TestCase(17, 256)]
    [TestCase(19, 8)]
    [TestCase(99, 0)]
    [TestCase(-1, 0)]
    public void A_type_has_a_size(int type, int size) => Assert.That(s_btf.SizeOf(type), Is.EqualTo(size));

    [TestCase("state", "a", -1L)]
    [TestCase("state", "b", 7L)]
    [TestCase("wide", "a", 0x1_0000_0005L)]
    [TestCase("wide", "b", null)]
    [TestCase("outer", "a", null)]
    public void An_enumeration_has_values(string enumeration, string constant, long? value) =>
        Assert.That(s_btf.ValueOf(enumeration, constant), Is.EqualTo(value));

    [Test]
    public void An_array_has_a_length_and_an_element() =>
        Assert.That((s_btf.LengthOf(IntArray), s_btf.TargetOf(IntArray), s_btf.LengthOf(Outer)), Is.EqualTo(((int?)56, Int, (int?)null)));

    [Test]
    public void A_kind_that_is_unknown_is_refused() => Assert.That(Btf.TryParse(Build(Type("new", (BtfKind)20, 0))), Is.Null);

    [Test]
    public void Structures_that_hold_themselves_are_searched_to_an_end() => Assert.That(
        Btf.TryParse(Build(Type("loop", BtfKind.Structure, 8, 3, "", 1, 0, "", 1, 0, "", 1, 0)))!.Find("loop", "name"), Is.Null);

    [Test]
    public void Damaged_types_never_throw() => Gen.Select(Gen.Int[0, s_types.Length - 1], Gen.Byte).Array[1, 10].Sample(damages =>
    {
        byte[] damaged = [.. s_types];
        foreach (var (at, value) in damages) damaged[at] = value;
        if (Btf.TryParse(damaged) is not { } types) return;
        foreach (string path in new[] { "first", "parts.b", "low", "name" }) types.Find("outer", path);
        types.ValueOf("state", "b");
        types.ValueOf("wide", "a");
        for (int type = 0; type < types.Count; type++) _ = (types.SizeOf(type), types.LengthOf(type), types.TargetOf(type), types.NameOf(type));
    }, iter: 20_000, threads: 1);

    static object[] Fields(string name, int size, int count, params object[] members) =>
        [name, (1 << 31) | (int)BtfKind.Structure << 24 | count, size, .. members];

    static object[] Fields(string name, BtfKind kind, int size, int count, params object[] constants) =>
        [name, (1 << 31) | (int)kind << 24 | count, size, .. constants];

    /// <summary>A type and the words behind it; names become their places. A kind with a count has it after the size.</summary>
    static object[] Type(string name, BtfKind kind, int sizeOrType, params object[] behind)
    {
        bool hasCount = kind is BtfKind.Structure or BtfKind.Union or BtfKind.Enumeration64 or BtfKind.Prototype or BtfKind.DataSection;
        return [name, (int)kind << 24 | (hasCount ? (int)behind[0] : 0), sizeOrType, .. hasCount ? behind[1..] : behind];
    }

    static byte[] Build(params object[][] types)
    {
        var strings = new List<byte> { 0 };
        var places = new Dictionary<string, int> { [""] = 0 };
        byte[] body = [.. types.SelectMany(words => words).SelectMany(word => BitConverter.GetBytes(word is string name ? Place(name) : (int)word))];
        return [.. BitConverter.GetBytes(0x0001_EB9F), .. Word(24), .. Word(0), .. Word(body.Length), .. Word(body.Length), .. Word(strings.Count),
            .. body, .. strings];

        int Place(string name)
        {
            if (places.TryGetValue(name, out int place)) return place;
            places[name] = strings.Count;
            strings.AddRange([.. Encoding.ASCII.GetBytes(name), 0]);
            return places[name];
        }
    }

    static byte[] Word(int value) => BitConverter.GetBytes(value);
}
