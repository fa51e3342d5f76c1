using CsCheck;
using VmLab.Core;

namespace VmLab.Core.Tests;

public sealed class RngTests
{
    [Test]
    public void A_seed_gives_these_numbers_for_ever()
    {
        var rng = Rng.FromSeed(7);

        Assert.That(new[] { rng.Next(), rng.Next() }, Is.EqualTo(new[] { 12923355070828475994UL, 5142052590334782674UL }));
    }

    [Test]
    public void A_child_depends_on_its_name_and_leaves_its_parent_alone()
    {
        var rng = Rng.FromSeed(7);
        Rng before = rng;

        Assert.That(rng.Child("a").Next(), Is.Not.EqualTo(rng.Child("b").Next()));
        Assert.That(rng, Is.EqualTo(before));
    }

    [Test]
    public void A_bounded_number_is_below_its_bound() =>
        Gen.Select(Gen.ULong, Gen.ULong[1, ulong.MaxValue]).Sample((seed, bound) =>
        {
            var rng = Rng.FromSeed(seed);
            return rng.NextBelow(bound) < bound && rng.NextDouble() is >= 0 and < 1;
        });
}
