using VmLab.Core;
using VmLab.X86;

namespace VmLab.Machines.Tests;

public sealed class MachineHooksTests
{
    const ulong Millisecond = 1_000_000;

    readonly FramePool _pool = new(1.GiB);

    [TearDown]
    public void Free() => _pool.Dispose();

    [Test]
    public void A_held_machine_goes_on_at_the_next_run()
    {
        using Machine machine = Programs.Boot(Programs.Ticker, _pool);
        List<ulong> at = [];
        machine.RunUntil(Millisecond / 2);
        using IDisposable hook = machine.Hooks.BreakAt(machine.Cpu.Rip, () => true);

        while (machine.Now < Millisecond)
        {
            machine.RunUntil(Millisecond);
            if (machine.Hooks.IsHeld) at.Add(machine.Cpu.Rip);
        }

        Assert.That(at, Has.Count.GreaterThan(1000).And.All.EqualTo(at[0]));
        Assert.That(machine.Now, Is.EqualTo(Millisecond));
    }

    [Test]
    public void A_hook_that_does_not_hold_only_sees()
    {
        using Machine machine = Programs.Boot(Programs.Ticker, _pool);
        List<ulong> times = [];
        using IDisposable hook = machine.Hooks.Watch(
            new Watch(Programs.Counter, 4, MemoryAccess.Write, IsPhysical: true), hit =>
            {
                times.Add(machine.Now);
                return false;
            });

        machine.RunUntil(10 * Millisecond);

        Assert.That(machine.Now, Is.EqualTo(10 * Millisecond));
        Assert.That(times, Has.Count.EqualTo(machine.Memory.Ram.Read32(Programs.Counter)).And.Ordered);
    }

    [Test]
    public void A_disposed_hook_sees_nothing()
    {
        using Machine machine = Programs.Boot(Programs.Ticker, _pool);
        int seen = 0;
        machine.Hooks.Watch(new Watch(Programs.Counter, 4, MemoryAccess.Write, IsPhysical: true), hit => ++seen == 0).Dispose();
        machine.Hooks.BreakAt(machine.Cpu.Rip, () => ++seen == 0).Dispose();

        machine.RunUntil(10 * Millisecond);

        Assert.That(seen, Is.Zero);
    }

    [Test]
    public void A_machine_is_held_after_exactly_so_many_counts()
    {
        using Machine machine = Programs.Boot(Programs.Sleeper, _pool);
        machine.RunUntil(5 * Millisecond);
        ulong before = machine.Retired;

        machine.Hooks.HoldAfter(3);
        machine.RunUntil(1000 * Millisecond);

        Assert.That((machine.Retired - before, machine.Hooks.IsHeld), Is.EqualTo((3UL, true)));
    }

    [Test]
    public void Hooks_do_not_change_the_run()
    {
        using Machine plain = Programs.Boot(Programs.Ticker, _pool), hooked = Programs.Boot(Programs.Ticker, _pool),
            traced = Programs.Boot(Programs.Ticker, _pool);
        var tracer = new CountingTracer();
        traced.Hooks.Tracer = tracer;
        hooked.RunUntil(Millisecond / 2);
        for (ulong i = 0; i < 16; i++) hooked.Hooks.BreakAt(hooked.Cpu.Rip + i, () => true);
        hooked.Hooks.Watch(new Watch(Programs.Counter, 4, MemoryAccess.Any, IsPhysical: true), hit => true);
        hooked.Hooks.Watch(new Watch(0x30_8000, 4096, MemoryAccess.Any, IsPhysical: false), hit => true);

        plain.RunUntil(5 * Millisecond);
        traced.RunUntil(5 * Millisecond);
        while (hooked.Now < 5 * Millisecond) hooked.RunUntil(5 * Millisecond);

        Assert.That((hooked.StateHash(), hooked.Retired), Is.EqualTo((plain.StateHash(), plain.Retired)));
        Assert.That((traced.StateHash(), tracer.Counts), Is.EqualTo((plain.StateHash(), plain.Retired)));
    }

    sealed class CountingTracer : ITracer
    {
        bool _isInside;

        public ulong Counts { get; private set; }

        public void Before() => _isInside = true;

        public void After()
        {
            if (_isInside) Counts++;
            _isInside = false;
        }
    }
}
