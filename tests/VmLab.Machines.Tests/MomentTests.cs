using VmLab.Core;
using VmLab.Guests;
using VmLab.Machines;

namespace VmLab.Machines.Tests;

/// <summary>A machine restored, or forked, goes on as the one that the moment was taken of.</summary>
public sealed class MomentTests
{
    const ulong Millisecond = 1_000_000;

    readonly FramePool _pool = new(1.GiB);

    [TearDown]
    public void Free() => _pool.Dispose();

    [TestCaseSource(nameof(Guests))]
    public void A_restored_machine_repeats_itself(ProgramGuest guest)
    {
        using Machine machine = Programs.Boot(guest, _pool);
        machine.RunUntil(3 * Millisecond + 123);
        using MachineMoment moment = machine.Snapshot();
        List<ulong> first = Hashes(machine);

        machine.Restore(moment);
        List<ulong> second = Hashes(machine);

        Assert.That(second, Is.EqualTo(first));
    }

    [TestCaseSource(nameof(Guests))]
    public void A_moment_changes_nothing(ProgramGuest guest)
    {
        using Machine plain = Programs.Boot(guest, _pool), watched = Programs.Boot(guest, _pool);
        var moments = new List<MachineMoment>();

        List<ulong> hashes = Hashes(plain);
        List<ulong> same = Hashes(watched, () => moments.Add(watched.Snapshot()));

        Assert.That(same, Is.EqualTo(hashes));
        moments.ForEach(moment => moment.Dispose());
    }

    [TestCaseSource(nameof(Guests))]
    public void A_tree_of_forks_is_one_run(ProgramGuest guest)
    {
        using Machine trunk = Programs.Boot(guest, _pool);
        trunk.RunUntil(Millisecond);
        using MachineMoment root = trunk.Snapshot();
        using Machine branch = new(trunk.Config, _pool, root);
        branch.RunUntil(2 * Millisecond + 77);
        using MachineMoment later = branch.Snapshot();
        using Machine leaf = new(trunk.Config, _pool, later), late = new(trunk.Config, _pool, root);

        List<ulong> hashes = Hashes(trunk);

        Assert.That(Hashes(branch), Is.EqualTo(hashes));
        Assert.That(Hashes(leaf), Is.EqualTo(hashes));
        Assert.That(Hashes(late), Is.EqualTo(hashes));
    }

    [Test]
    public void Restores_in_any_order_are_right()
    {
        using Machine machine = Programs.Boot(Programs.Ticker, _pool);
        var moments = new List<(ulong Hash, MachineMoment Moment)>();
        for (ulong time = 1; time <= 20; time++)
        {
            machine.RunUntil(time * Millisecond / 3);
            moments.Add((machine.StateHash(), machine.Snapshot()));
        }
        var order = Rng.FromSeed(5);

        for (int i = 0; i < 60; i++)
        {
            var (hash, moment) = moments[(int)order.NextBelow((ulong)moments.Count)];
            machine.Restore(moment);
            Assert.That(machine.StateHash(), Is.EqualTo(hash));
            machine.RunUntil(machine.Now + order.NextBelow(Millisecond));
        }

        moments.ForEach(entry => entry.Moment.Dispose());
    }

    [Test]
    public void Frames_are_free_again_once_nobody_needs_them()
    {
        Machine machine = Programs.Boot(Programs.Ticker, _pool);
        machine.RunUntil(Millisecond);
        MachineMoment moment = machine.Snapshot();
        var fork = new Machine(machine.Config, _pool, moment);
        fork.RunUntil(2 * Millisecond);

        machine.Dispose();
        moment.Dispose();
        fork.Dispose();

        Assert.That(_pool.FramesInUse, Is.Zero);
    }

    [Test]
    public void Forks_on_two_threads_do_not_meet()
    {
        using Machine trunk = Programs.Boot(Programs.Ticker, _pool);
        trunk.RunUntil(Millisecond);
        using MachineMoment root = trunk.Snapshot();
        Machine[] forks = [.. Enumerable.Range(0, 4).Select(_ => new Machine(trunk.Config, _pool, root))];

        Parallel.ForEach(forks, fork => fork.RunUntil(20 * Millisecond));

        trunk.RunUntil(20 * Millisecond);
        Assert.That(forks.Select(fork => fork.StateHash()), Has.All.EqualTo(trunk.StateHash()));
        foreach (Machine fork in forks) fork.Dispose();
    }

    [Test]
    public void What_waits_for_the_guest_is_part_of_the_moment()
    {
        using Machine machine = Programs.Boot(Programs.Sleeper, _pool);
        machine.Console.Send("a line too long for the receive FIFO"u8);
        int waiting = machine.Console.Waiting;
        using MachineMoment moment = machine.Snapshot();
        using Machine fork = new(machine.Config, _pool, moment);

        Assert.That((fork.Console.Waiting, fork.Console.Waiting), Is.EqualTo((waiting, waiting)).And.Not.EqualTo((0, 0)));
    }

    static IEnumerable<ProgramGuest> Guests => [Programs.Ticker, Programs.Sleeper];

    static List<ulong> Hashes(Machine machine, Action? between = null)
    {
        var hashes = new List<ulong>();
        for (ulong time = 4 * Millisecond; time < 40 * Millisecond; time += 3 * Millisecond)
        {
            machine.RunUntil(time);
            hashes.Add(machine.StateHash());
            between?.Invoke();
        }
        return hashes;
    }
}
