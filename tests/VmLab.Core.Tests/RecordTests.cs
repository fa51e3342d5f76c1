using System.Collections.Immutable;

namespace VmLab.Core.Tests;

/// <summary>Records written as bytes come back as they were, and nothing else comes back at all.</summary>
public sealed class RecordTests
{
    public enum Colour { Red = 1, Blue = 7 }

    public abstract record Shape(string Name)
    {
        public TimeSpan Age { get; init; }
    }

    public sealed record Circle(string Name, double Radius) : Shape(Name);

    public sealed record Square(string Name, ulong? Side) : Shape(Name);

    [Schema("inner", version: 3)]
    public readonly record struct Inner(byte Small, sbyte Negative, char Letter, UInt128 Huge, Values<byte> Bytes);

    public sealed record Everything(
        bool Flag, short Short, ushort UShort, int Int, uint UInt, long Long, double Double, Colour Colour, string Text, string? NoText,
        Inner Inner, Values<Values<int>> Nested, ImmutableArray<Shape> Shapes, IReadOnlyList<ValueType> Mixed, Shape? Missing)
    {
        public bool Equals(Everything? other) => other is not null && Written(this).SequenceEqual(Written(other));

        public override int GetHashCode() => Int;
    }

    public sealed record Callback(Action Deed);

    static readonly Everything s_everything = new(
        true, -2, 65535, -3, 4_000_000_000, long.MinValue, double.NaN, Colour.Blue, "zwölf\ud800\0", null,
        new Inner(255, -1, 'ß', UInt128.MaxValue, Values.Of<byte>([1, 2, 3])), Values.Of([Values.Of([1, 2]), default]),
        [new Circle("c", 0.5) { Age = 3.Seconds }, new Square("s", null), new Square("t", 9)], [new Inner(), Rng.FromSeed(5)], null);

    [Test]
    public void A_record_comes_back_as_it_was()
    {
        Everything read = Read<Everything>(Written(s_everything));

        Assert.That(Written(read), Is.EqualTo(Written(s_everything)));
        Assert.That(read.Text, Is.EqualTo(s_everything.Text));
        Assert.That(read.Shapes[0], Is.EqualTo(s_everything.Shapes[0]));
        Assert.That(read.Mixed[1], Is.EqualTo(Rng.FromSeed(5)));
    }

    [Test]
    public void What_is_no_plain_data_is_not_written() => Assert.That(
        () => Written(new Callback(() => { })), Throws.TypeOf<LabException>().With.Message.Contains("Action"));

    [Test]
    public void Bytes_that_end_anywhere_are_refused()
    {
        byte[] bytes = Written(s_everything);
        for (int length = 0; length < bytes.Length; length++)
            Assert.That(() => Read<Everything>(bytes[..length]), Throws.TypeOf<LabException>(), $"{length} bytes");
    }

    [Test]
    public void What_follows_the_record_is_refused() => Assert.That(
        () => Read<Everything>([.. Written(s_everything), 0]), Throws.TypeOf<LabException>().With.Message.Contains("behind its end"));

    [Test]
    public void A_byte_that_changes_is_refused_or_changes_the_record()
    {
        byte[] bytes = Written(s_everything);
        for (int i = 0; i < bytes.Length; i++)
        {
            byte[] damaged = [.. bytes];
            damaged[i] ^= 0x41;
            try
            {
                Assert.That(Written(Read<Everything>(damaged)), Is.EqualTo(damaged), $"byte {i}");
            }
            catch (LabException)
            {
                // as it should be
            }
        }
    }

    [Test]
    public void A_record_of_another_type_is_refused() => Assert.That(
        () => Read<Inner>(Written(s_everything)), Throws.TypeOf<LabException>().With.Message.Contains("belongs"));

    [Test]
    public void A_type_that_is_no_record_is_not_made() => Assert.That(
        () => Read<Shape>([0, 0, 0, 0, .. Text(typeof(FramePool).FullName!), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        Throws.TypeOf<LabException>().With.Message.Contains("no record"));

    // The runtime would take such a name apart: an empty one throws, others load assemblies.
    [TestCase("")]
    [TestCase("VmLab.Core.Values`1[[System.Byte, Elsewhere]]")]
    [TestCase("VmLab.Core.Tests.RecordTests+Inner, Elsewhere")]
    public void A_name_that_is_no_plain_name_is_refused(string name) => Assert.That(
        () => Read<Shape>([0, 0, 0, 0, .. Text(name), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Throws.TypeOf<LabException>());

    [Test]
    public void Another_version_of_a_record_is_refused_by_name()
    {
        byte[] bytes = Written(new Inner());
        int version = 4 + Text(typeof(Inner).ToString()).Length;
        Assert.That(bytes[version], Is.EqualTo(3));
        bytes[version] = 2;

        Assert.That(() => Read<Inner>(bytes), Throws.TypeOf<LabException>().With.Message.Contains("version 2, and here it has version 3"));
    }

    [Test]
    public void Another_shape_of_a_record_is_refused_by_name()
    {
        byte[] bytes = Written(new Inner());
        bytes[4 + Text(typeof(Inner).ToString()).Length + 4] ^= 1;

        Assert.That(() => Read<Inner>(bytes), Throws.TypeOf<LabException>().With.Message.Contains("Inner has other fields"));
    }

    static byte[] Text(string text) => [.. BitConverter.GetBytes(text.Length), .. System.Text.Encoding.Unicode.GetBytes(text)];

    static byte[] Written<T>(T record)
    {
        var writer = new RecordWriter(new PageList());
        writer.Write(record);
        return writer.Bytes.ToArray();
    }

    static T Read<T>(byte[] bytes)
    {
        RecordReader reader = RecordReader.WithoutPages(bytes);
        T record = reader.Read<T>();
        reader.End();
        return record;
    }
}
