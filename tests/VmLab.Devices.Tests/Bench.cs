using CsCheck;
using VmLab.Core;

namespace VmLab.Devices.Tests;

/// <summary>One thing done to a device: by the guest, by its surroundings, or by time.</summary>
/// <param name="Kind">0 reads, 1 writes, 2 lets time pass; the rest is the bench's own.</param>
public readonly record struct Poke(int Kind, int Offset, int Width, ulong Value)
{
    public const int Read = 0, Write = 1, Wait = 2;

    /// <summary>Any access at all, well-behaved or not, with a taste for small numbers and round times.</summary>
    public static Gen<Poke> Wild(int kinds, int offsets, params int[] widths) =>
        Gen.Select(Gen.Int[0, kinds - 1], Gen.Int[0, offsets - 1], Gen.OneOf(widths), Amounts)
            .Select((kind, offset, width, value) => new Poke(kind, offset, width, value));

    static readonly Gen<ulong> Amounts = Gen.OneOf(
        Gen.ULong[0, 0xFF], Gen.ULong[0, 0xFFFF_FFFF], Gen.ULong, Gen.Int[0, 63].Select(bit => 1UL << bit),
        Gen.OneOf(0UL, 0xFFUL, 0xFFFF_FFFFUL, ulong.MaxValue, 1_000UL, 1_000_000UL, 1_000_000_000UL));
}

/// <summary>A device on the workbench, with all that may be done to it and all that can be seen of it.</summary>
/// <param name="act">Does what is neither waiting nor known here; returns what was read.</param>
/// <param name="outputs">Line levels and the like, as numbers.</param>
public sealed class Bench<TState>(
    ISnapshot<TState> device, VirtualClock clock, Func<Poke, ulong> act, Func<IEnumerable<ulong>> outputs)
    where TState : struct
{
    // Longer waits are cut short: machine time ends after 584 years.
    const ulong LongestWait = 1UL << 52;
    const int MostDeadlinesInAWait = 20;

    public VirtualClock Clock => clock;
    public ISnapshot<TState> Device => device;

    public List<ulong> Play(IEnumerable<Poke> pokes)
    {
        var seen = new List<ulong>();
        foreach (Poke poke in pokes)
        {
            if (poke.Kind == Poke.Wait) Wait(poke.Value % LongestWait, seen);
            else seen.Add(act(poke));
            seen.AddRange(outputs());
            seen.Add((device as ITimed)?.NextDeadline ?? 0);
        }
        return seen;
    }

    // The first deadlines are kept as a machine keeps them; the rest is one leap, which must cost no more.
    void Wait(ulong nanoseconds, List<ulong> seen)
    {
        ulong end = clock.Now + nanoseconds;
        var timed = device as ITimed;
        for (int i = 0; timed is not null && i < MostDeadlinesInAWait && timed.NextDeadline <= end; i++)
        {
            clock.Now = Math.Max(clock.Now, timed.NextDeadline);
            timed.Advance();
            seen.Add(clock.Now);
            seen.AddRange(outputs());
        }
        clock.Now = end;
        timed?.Advance();
    }
}

/// <summary>What holds for every device, whatever a guest does to it.</summary>
public static class Laws
{
    public static void RestoredBehavesAsSaved<TState>(Func<Bench<TState>> make, Gen<Poke> pokes)
        where TState : struct =>
        Gen.Select(pokes.Array[0, 60], pokes.Array[0, 60]).Sample((before, after) =>
        {
            (Bench<TState> first, Bench<TState> second) = (make(), make());
            first.Play(before);
            second.Clock.Now = first.Clock.Now;
            second.Device.Restore(first.Device.Save());
            (second.Device as IDrivesLines)?.RestoreLines();

            return first.Play(after).SequenceEqual(second.Play(after))
                && first.Device.Save().Equals(second.Device.Save());
        }, iter: 400);

    /// <summary>Nothing throws, and the state stays plain data that hashes the same twice.</summary>
    public static void BearsAnything<TState>(Func<Bench<TState>> make, Gen<Poke> pokes)
        where TState : struct =>
        pokes.Array[0, 300].Sample(all =>
        {
            Bench<TState> bench = make();
            bench.Play(all);
            TState state = bench.Device.Save();
            return new StateHash().AddRecord(state).Value == new StateHash().AddRecord(bench.Device.Save()).Value;
        }, iter: 200);
}
