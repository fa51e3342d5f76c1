using System.Runtime.CompilerServices;
using VmLab.Core;

namespace VmLab.Tests;

/// <summary>Moments that are prepared once and kept.</summary>
[NonParallelizable]   // the store's place is a variable of the process
public sealed class CachedMomentTests
{
    static readonly Fleet s_fleet = Fleet.Define("cached").Seed(5)
        .Vm("one", vm => vm.Boot(Guest.Program(MomentFileTests.Chatter)).Memory(4.MiB));

    string? _before;
    string _store = "";
    readonly StrongBox<int> _prepared = new();   // no plain value, so no part of a moment's key

    [SetUp]
    public void MakeStore()
    {
        _prepared.Value = 0;
        _before = Environment.GetEnvironmentVariable("VMLAB_CACHE");
        Environment.SetEnvironmentVariable("VMLAB_CACHE", _store = Directory.CreateTempSubdirectory("vmlab-store").FullName);
    }

    [TearDown]
    public void RemoveStore()
    {
        Environment.SetEnvironmentVariable("VMLAB_CACHE", _before);
        Directory.Delete(_store, recursive: true);
    }

    [Test]
    public void It_is_prepared_when_it_is_first_used_and_never_again()
    {
        Moment first = Cached(s_fleet);
        Assert.That(_prepared.Value, Is.Zero);
        Assert.That(() => first.Time, Throws.TypeOf<LabException>().With.Message.Contains("not been prepared"));

        ulong[] hashes = [Hash(first), Hash(first), Hash(Cached(s_fleet))];

        Assert.That(_prepared.Value, Is.EqualTo(1));
        Assert.That(first.Time, Is.EqualTo(15.Milliseconds));
        Assert.That(hashes.Distinct().Count(), Is.EqualTo(1));
    }

    [Test]
    public void Another_fleet_or_captured_value_is_another_moment()
    {
        Hash(Cached(s_fleet));
        Hash(Cached(s_fleet.Seed(6)));
        int milliseconds = 3;
        Moment Captured() => Moments.Cached("there", s_fleet, async lab => { _prepared.Value++; await lab.RunFor(milliseconds.Milliseconds); });
        Hash(Captured());
        milliseconds = 4;
        Hash(Captured());
        Hash(Captured());

        Assert.That(_prepared.Value, Is.EqualTo(4));
    }

    [Test]
    public void A_damaged_one_is_prepared_again()
    {
        ulong expected = Hash(Cached(s_fleet));
        string file = Directory.GetFiles(_store, "lab.moment", SearchOption.AllDirectories).Single();
        byte[] bytes = File.ReadAllBytes(file);
        bytes[^1] ^= 1;
        File.WriteAllBytes(file + "2", bytes);
        File.Move(file + "2", file, overwrite: true);

        Assert.That(Hash(Cached(s_fleet)), Is.EqualTo(expected));
        Assert.That(_prepared.Value, Is.EqualTo(2));
    }

    [Test]
    public void Two_who_ask_at_once_prepare_it_once()
    {
        ulong[] hashes = new ulong[2];
        Thread[] threads = [.. Enumerable.Range(0, 2).Select(i => new Thread(() => hashes[i] = Hash(Cached(s_fleet))))];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();

        Assert.That(_prepared.Value, Is.EqualTo(1));
        Assert.That(hashes[0], Is.EqualTo(hashes[1]));
    }

    [Test]
    public void Labs_with_other_seeds_grow_from_the_same_moment()
    {
        Moment moment = Cached(s_fleet);
        ulong own = Hash(moment), other = Hash(moment, new LabOptions { Seed = 9 });

        Assert.That((_prepared.Value, other), Is.EqualTo((1, own)));   // another seed shows once something is drawn
    }

    Moment Cached(Fleet fleet) => Moments.Cached("there", fleet, Prepare);

    async Task Prepare(Lab lab)
    {
        Interlocked.Increment(ref _prepared.Value);
        await lab.RunFor(15.Milliseconds);
    }

    static ulong Hash(Moment moment, LabOptions? options = null)
    {
        ulong hash = 0;
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(moment);
            await lab.RunFor(5.Milliseconds);
            hash = lab.StateHash();
        }, options ?? new LabOptions());
        return hash;
    }
}
