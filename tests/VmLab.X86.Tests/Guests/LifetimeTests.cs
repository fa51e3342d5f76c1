using System.Runtime.CompilerServices;

namespace VmLab.X86.Tests.Guests;

/// <summary>A processor's unmanaged memory goes with it.</summary>
public sealed class LifetimeTests
{
    [Test]
    public void A_processor_that_nobody_disposed_is_freed_once()
    {
        WeakReference left = Leave();

        for (int i = 0; i < 10 && left.IsAlive; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();   // freeing twice ends the process
        }

        Assert.That(left.IsAlive, Is.False);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static WeakReference Leave() => new(new VcpuFixture());
}
