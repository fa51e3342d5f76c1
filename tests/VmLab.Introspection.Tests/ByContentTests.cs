using System.Runtime.CompilerServices;

namespace VmLab.Introspection.Tests;

public sealed class ByContentTests
{
    readonly ByContent<object> _shared = new();

    [Test]
    public void The_first_that_is_kept_is_everybodys()
    {
        object first = new();

        Assert.That((_shared.Keep("a", first), _shared.Keep("a", new object())), Is.EqualTo((first, first)));
        Assert.That((_shared.TryFind("a", out object? found), found), Is.EqualTo((true, first)));
        Assert.That(_shared.TryFind("b", out _), Is.False);
    }

    [Test]
    public void What_nobody_keeps_is_forgotten()
    {
        KeepForNobody();
        GC.Collect();

        Assert.That(_shared.TryFind("a", out _), Is.False);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    void KeepForNobody() => _shared.Keep("a", new object());
}
