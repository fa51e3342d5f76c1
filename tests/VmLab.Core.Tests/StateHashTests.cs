using VmLab.Core;

namespace VmLab.Core.Tests;

public sealed class StateHashTests
{
    [Schema("point", version: 1)]
    record struct Point(int X, long Y, Values<byte> Bytes, bool Flag);

    [Schema("other", version: 1)]
    record struct Other(int X, long Y, Values<byte> Bytes, bool Flag);

    static readonly Point s_point = new(1, 2, Values.Of<byte>([1, 2, 3]), true);

    [Test]
    public void Equal_records_hash_alike() =>
        Assert.That(HashOf(s_point with { Bytes = Values.Of<byte>([1, 2, 3]) }), Is.EqualTo(HashOf(s_point)));

    [Test]
    public void Each_field_matters()
    {
        ulong[] hashes =
        [
            HashOf(s_point), HashOf(s_point with { X = 2 }), HashOf(s_point with { Y = 3 }), HashOf(s_point with { Flag = false }),
            HashOf(s_point with { Bytes = Values.Of<byte>([1, 2, 4]) }), HashOf(s_point with { Bytes = Values.Of<byte>([1, 2]) }),
        ];

        Assert.That(hashes, Is.Unique);
    }

    [Test]
    public void Two_shapes_never_hash_alike_by_chance() =>
        Assert.That(HashOf(new Other(1, 2, s_point.Bytes, true)), Is.Not.EqualTo(HashOf(s_point)));

    [Test]
    public void What_is_no_plain_data_is_refused() =>
        Assert.That(() => new StateHash().AddRecord(new Holder(new object())), Throws.TypeOf<NotSupportedException>());

    record struct Holder(object Thing);

    static ulong HashOf<T>(T record)
        where T : struct => new StateHash().AddRecord(record).Value;
}
