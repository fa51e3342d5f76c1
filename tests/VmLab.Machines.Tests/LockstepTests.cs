using VmLab.Core;
using VmLab.X86;

namespace VmLab.Machines.Tests;

public sealed class LockstepTests
{
    const ulong Millisecond = 1_000_000, Step = 100_000;

    readonly FramePool _pool = new(1.GiB);

    [TearDown]
    public void Free() => _pool.Dispose();

    [Test]
    public void A_machine_held_against_the_interpreter_does_what_it_does_alone()
    {
        using Machine alone = Programs.Boot(Programs.Ticker, _pool), subject = Programs.Boot(Programs.Ticker, _pool);
        using var lockstep = Lockstep.WithInterpreter(subject, _pool, Step);

        alone.RunUntil(20 * Millisecond);
        lockstep.RunUntil(20 * Millisecond);

        Assert.That(lockstep.Comparisons, Is.EqualTo(20 * Millisecond / Step));
        Assert.That(subject.StateHash(), Is.EqualTo(alone.StateHash()));
    }

    [Test]
    public void One_bit_planted_in_one_machine_is_found_at_its_instant_with_the_code_that_was_running()
    {
        ulong instant = InstantInLoop(out ulong loop);
        using Machine subject = Programs.Boot(Programs.Ticker, _pool);
        var reference = new Machine(subject.Config with { Engine = Engine.Interpreter }, _pool);
        reference.Hooks.BreakAt(loop, () =>
        {
            if (reference.Now == instant) reference.Cpu.SetRegister(Gpr.Rcx, reference.Cpu.Register(Gpr.Rcx) ^ 1UL << 40);
            return false;
        });
        using var lockstep = new Lockstep(subject, reference, Step);

        EnginesDifferException found = Assert.Throws<EnginesDifferException>(() => lockstep.RunUntil(20 * Millisecond))!;

        Assert.That((found.Since, found.Time), Is.EqualTo((instant, instant + 1)));
        Assert.That(found.Message, Does.Contain($"count {found.Time}").And.Contain("rcx: ").And.Contain("imul rcx,5851F42Dh"));
        Assert.That(found.Message, Does.Contain("State on the engine interpreter:\nrax ").And.Contain("State on the engine auto:\nrax "));
    }

    [Test]
    [Platform("Linux")]
    public void A_difference_in_translated_code_is_shown_with_the_code_of_the_host()
    {
        ulong instant = InstantInLoop(out ulong loop);
        using Machine subject = Programs.Boot(Programs.Ticker, _pool);
        var reference = new Machine(subject.Config with { Engine = Engine.Interpreter }, _pool);
        reference.Hooks.BreakAt(loop, () =>
        {
            byte[] value = [0xEE];
            if (reference.Now == instant) reference.Memory.Ram.Write(0x50_0000, value);
            return false;
        });
        using var lockstep = new Lockstep(subject, reference, Step);

        EnginesDifferException found = Assert.Throws<EnginesDifferException>(() => lockstep.RunUntil(20 * Millisecond))!;

        Assert.That(found.Message, Does.Contain("memory at 500000: 00000000000000").And.Contain("not ee"));
        Assert.That(found.Message, Does.Contain("Code of the guest, a block").And.Contain("Code of the host that it is translated to:\n"));
    }

    /// <summary>An instant, some milliseconds on, at which the program begins its loop anew.</summary>
    ulong InstantInLoop(out ulong loop)
    {
        using Machine machine = Programs.Boot(Programs.Ticker, _pool);
        machine.RunUntil(7 * Millisecond);
        ulong instant = 0, rip = machine.Cpu.Rip;
        using IDisposable hook = machine.Hooks.BreakAt(rip, () =>
        {
            instant = machine.Now;
            return true;
        });
        machine.RunUntil(8 * Millisecond);
        loop = rip;
        return instant;
    }
}
