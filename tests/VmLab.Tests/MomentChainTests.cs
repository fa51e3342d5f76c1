using VmLab.Core;
using VmLab.Faults;

namespace VmLab.Tests;

/// <summary>Moments that hold only what differs from an earlier one, which is in a file beside them.</summary>
public sealed class MomentChainTests
{
    static readonly VmRef s_one;

    static readonly Fleet s_fleet = Fleet.Define("chain").Seed(5)
        .Vm("one", out s_one, vm => vm.Boot(Guest.Program(MomentFileTests.Chatter)).Memory(8.MiB).Disk("data", 8.MiB))
        .Vm("two", vm => vm.Boot(Guest.Program(MomentFileTests.Chatter)).Memory(8.MiB));

    string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("vmlab-chain").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void The_last_of_three_goes_on_as_the_lab_that_saved_it() => OnChain(async (lab, _) =>
    {
        string expected = await Continue(lab);

        using Moment loaded = Moment.Load(In("c"));
        await using Lab later = await Lab.StartAsync(loaded);

        Assert.That((loaded.Name, loaded.Time, loaded.Parent!.Name, loaded.Parent.Parent!.Name), Is.EqualTo(("c", 204.Milliseconds, "b", "a")));
        Assert.That(await Continue(later), Is.EqualTo(expected));
    });

    [Test]
    public void A_file_holds_what_was_changed_since_its_parent() => OnChain(async (_, chain) =>
    {
        chain[2].Save(In("whole"));
        chain[2].Save(In("same"), chain[2]);

        Assert.That(Length("a"), Is.GreaterThan(1 << 20));
        Assert.That(Length("c"), Is.LessThan(Length("whole") / 4));
        Assert.That(Length("same"), Is.LessThan(64 << 10));
        await Task.CompletedTask;
    });

    [Test]
    public void A_loaded_chain_saves_to_the_same_bytes_whole_and_in_parts() => OnChain(async (_, chain) =>
    {
        byte[] parts = File.ReadAllBytes(In("c"));
        chain[2].Save(In("whole"));

        using Moment loaded = Moment.Load(In("c"));
        loaded.Save(In("parts again"), loaded.Parent);
        loaded.Save(In("whole again"));

        Assert.That(File.ReadAllBytes(In("parts again")).AsSpan().SequenceEqual(parts));
        Assert.That(File.ReadAllBytes(In("whole again")).AsSpan().SequenceEqual(File.ReadAllBytes(In("whole"))));
        await Task.CompletedTask;
    });

    [Test]
    public void A_lab_of_a_loaded_moment_is_restored_to_its_parent_and_saves_further_ones() => OnChain(async (lab, chain) =>
    {
        await lab.Restore(chain[0]);
        string expected = await Continue(lab);

        await using Lab later = await Lab.StartAsync(Moment.Load(In("c")));
        await later.RunFor(10.Milliseconds);
        using Moment further = await later.Snapshot("d");
        further.Save(In("d"), later.GrownFrom);
        await later.Restore(later.GrownFrom!.Parent!.Parent!);

        Assert.That(await Continue(later), Is.EqualTo(expected));
        Assert.That(Moment.Load(In("d")).Parent!.Parent!.Parent!.Name, Is.EqualTo("a"));
    });

    [Test]
    public void A_missing_parent_is_named() => OnChain(async (_, _) =>
    {
        File.Delete(In("b"));

        Assert.That(() => Moment.Load(In("c")), Refused("c.moment", "holds what differs from b.moment, which is not beside it"));
        Assert.That(() => Moment.Load(In("a")), Throws.Nothing);
        await Task.CompletedTask;
    });

    [Test]
    public void Another_file_in_the_place_of_the_parent_is_noticed() => OnChain(async (_, _) =>
    {
        File.Copy(In("b"), In("a"), overwrite: true);
        Assert.That(() => Moment.Load(In("b")), Refused("b.moment", "the file of that name beside it is another"));

        await using Lab other = await Lab.StartAsync(s_fleet);
        (await other.Snapshot("other")).Save(In("a"));

        Assert.That(() => Moment.Load(In("b")), Refused("b.moment", "the file of that name beside it is another"));
    });

    [Test]
    public void A_damaged_parent_is_named() => OnChain(async (_, _) =>
    {
        byte[] bytes = File.ReadAllBytes(In("a"));
        bytes[^1] ^= 1;
        File.WriteAllBytes(In("a"), bytes);

        Assert.That(() => Moment.Load(In("c")), Refused("a.moment cannot be loaded", "It is damaged"));
        await Task.CompletedTask;
    });

    [Test]
    public void A_file_that_cannot_be_written_loses_nothing() => OnChain(async (lab, chain) =>
    {
        Directory.CreateDirectory(In("c") + ".new");
        using Moment newer = await lab.Snapshot("newer");

        Assert.That(() => newer.Save(In("c"), chain[1]), Throws.TypeOf<LabException>());
        Assert.That(Moment.Load(In("c")).Name, Is.EqualTo("c"));
    });

    [Test]
    public void A_moment_never_replaces_what_it_is_told_from() => OnChain(async (lab, chain) =>
    {
        using Moment newer = await lab.Snapshot("newer");

        Assert.That(() => newer.Save(In("a"), chain[2]), Refused("a.moment", "which it would replace"));
        Assert.That(() => newer.Save(In("c"), chain[2]), Refused("c.moment", "which it would replace"));
        Assert.That(Moment.Load(In("c")).Name, Is.EqualTo("c"));
    });

    [Test]
    public void What_can_be_no_parent_is_refused() => OnChain(async (lab, chain) =>
    {
        using Moment unsaved = await lab.Snapshot("unsaved");
        using Moment foreign = Moment.Load(In("a"));

        Assert.That(() => unsaved.Save(In("d"), unsaved), Refused("unsaved", "save it first"));
        Assert.That(() => unsaved.Save(In("d"), foreign), Refused("\"a\"", "is of another lab"));
        Assert.That(() => unsaved.Save(Path.Combine(_folder, "deeper", "d.moment"), chain[2]), Refused("c.moment", "save it in the same folder"));
        chain[0].Save(In("b"));
        Assert.That(() => unsaved.Save(In("d"), chain[1]), Refused("b.moment", "does not hold \"b\" any more"));
    });

    static NUnit.Framework.Constraints.IResolveConstraint Refused(string what, string why) =>
        Throws.TypeOf<LabException>().With.Message.Contains(what).And.Message.Contains(why);

    static async Task<string> Continue(Lab lab)
    {
        await lab.RunFor(40.Milliseconds);
        return string.Join('\n', lab.Machines.Select(vm => $"{vm.Name} {vm.StateHash:x16} {vm.Now} {vm.Console.Text}"));
    }

    string In(string name) => Path.Combine(_folder, name + ".moment");

    long Length(string name) => new FileInfo(In(name)).Length;

    /// <summary>Three moments, each saved with the one before as its parent: memory and a disk have changed in between.</summary>
    void OnChain(Func<Lab, IReadOnlyList<Moment>, Task> script) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(s_fleet);
        var chain = new List<Moment>();
        foreach (string name in new[] { "a", "b", "c" })
        {
            lab.Inject(Fault.Disk(s_one, "data").Rotten(new SectorRange(8 * (ulong)chain.Count, 16), sectors: 3));
            await lab.RunFor(chain.Count == 0 ? 200.Milliseconds : 2.Milliseconds);
            chain.Add(await lab.Snapshot(name));
            chain[^1].Save(In(name), chain.Count > 1 ? chain[^2] : null);
        }
        await script(lab, chain);
    }, new LabOptions());
}
