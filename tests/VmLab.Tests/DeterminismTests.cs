using VmLab.Core;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

/// <summary>The lab's part of the promise: whatever the host does, a run of a seed is the same run.</summary>
public sealed class DeterminismTests
{
    [Test]
    public void Consoles_timelines_and_hashes_are_the_same_on_any_number_of_threads()
    {
        string[] runs = [.. new[] { 1, 2, 4 }.Select(threads => Record(seed: 7, new LabOptions { Threads = threads }))];

        Assert.That(runs[1], Is.EqualTo(runs[0]));
        Assert.That(runs[2], Is.EqualTo(runs[0]));
    }

    [Test]
    public void Machines_share_threads_when_there_is_work_for_several()
    {
        var threads = new HashSet<int>();
        var met = new Barrier(2);
        void Meet(ScriptedMachine machine) => machine.At(1.Milliseconds, () =>
        {
            met.SignalAndWait();   // only two threads at once get by here
            lock (threads) threads.Add(machine.Thread);
        });

        Run(Two(Meet, Meet), lab => lab.RunFor(1.Seconds), new LabOptions { Threads = 2 });

        Assert.That(threads, Has.Count.EqualTo(2));
    }

    [Test]
    public void Another_seed_gives_another_run() =>
        Assert.That(Record(seed: 8, new LabOptions()), Is.Not.EqualTo(Record(seed: 7, new LabOptions())));

    [Test]
    public void Options_may_replace_the_seed() => Assert.That(
        Record(seed: 8, new LabOptions { Seed = 7 }), Is.EqualTo(Record(seed: 7, new LabOptions())));

    [Test]
    public void What_ends_in_one_quantum_ends_in_the_order_of_the_script()
    {
        List<string> order = [];
        Run(Two(
            alice => alice.At(9.Milliseconds, () => alice.Prints("x")),
            bob => bob.At(1.Milliseconds, () => bob.Prints("x"))), async lab =>
            {
                async Task Follow(VmRef vm)
                {
                    await lab[vm].Console.Expect("x");
                    order.Add(vm.Name);
                }
                await Task.WhenAll(Follow(Alice), Follow(Bob));
            });

        Assert.That(order, Is.EqualTo(new[] { "alice", "bob" }));
    }

    [Test]
    public void The_hash_log_has_a_line_a_machine_and_checkpoint()
    {
        string path = Path.Combine(TestContext.CurrentContext.WorkDirectory, "hashes.txt");

        Run(Two(_ => { }, _ => { }), lab => lab.RunFor(250.Milliseconds), new LabOptions { Hashes = path });

        string[] lines = File.ReadAllLines(path);
        Assert.That(lines.Select(line => line[..line.LastIndexOf(' ')]), Is.EqualTo(new[]
        {
            "alice 100000000", "bob 100000000", "alice 200000000", "bob 200000000",
        }));
        Assert.That(lines, Has.All.Match("^[a-z]+ [0-9]+ [0-9a-f]{16}$"));
    }

    [Test]
    public void The_hash_log_changes_nothing()
    {
        string path = Path.Combine(TestContext.CurrentContext.WorkDirectory, "unchanged.txt");

        Assert.That(Record(seed: 7, new LabOptions { Hashes = path }), Is.EqualTo(Record(seed: 7, new LabOptions())));
    }

    [Test]
    public void Pause_stops_a_machines_clock_and_no_other() => Run(Two(Ticks, Ticks), async lab =>
    {
        lab[Alice].Pause();
        await lab.RunFor(35.Milliseconds);
        lab[Alice].Continue();
        await lab.RunFor(15.Milliseconds);

        Assert.That(lab[Alice].Console.Text, Is.EqualTo("."));
        Assert.That(lab[Bob].Console.Text, Is.EqualTo("....."));
        Assert.That(lab[Alice].Now, Is.EqualTo(lab.Now));
    });

    [Test]
    public void A_guest_that_asks_for_a_reset_gets_it() => Run(
        One(alice => alice.At(15.Milliseconds, () => { alice.Prints("!"); alice.Stops(Machines.MachineStatus.Reset); })),
        async lab =>
        {
            await lab.RunFor(50.Milliseconds);

            Assert.That(lab[Alice].Console.Text, Is.EqualTo("!!"));
            Assert.That(lab.Timeline.Select(what => what.ToString()), Is.EqualTo(new[]
            {
                "   0.000000 s  alice     powered on",
                "   0.015000 s  alice     reset by the guest",
                "   0.020000 s  alice     powered on",
                "   0.035000 s  alice     reset by the guest",
                "   0.040000 s  alice     powered on",
            }));
        });

    static void Ticks(ScriptedMachine machine)
    {
        for (int i = 1; i < 100; i++) machine.At((10 * i).Milliseconds, () => machine.Prints("."));
    }

    /// <summary>All that a script can see of a run of two machines that chatter at random.</summary>
    static string Record(ulong seed, LabOptions options)
    {
        string record = "";
        Run(Two(Chatter, Chatter).Seed(seed), async lab =>
        {
            for (int i = 0; i < 5; i++)
            {
                lab[Bob].Console.Send($"line {i}\n");
                await lab.Until(() => lab[Alice].Console.Bytes.Count > 10 * i);
                record += $"{lab.Now} {lab.StateHash():x16} {lab[Alice].Console.Text} {lab[Bob].Console.Text}\n";
            }
            record += string.Join('\n', lab.Timeline);
        }, options);
        return record;
    }

    static void Chatter(ScriptedMachine machine)
    {
        ulong time = 0;
        for (int i = 0; i < 200; i++)
        {
            time += machine.Random.NextBelow(3_000_000);
            char letter = (char)('a' + machine.Random.NextBelow(26));
            machine.At(time, () => machine.Prints($"{letter}"));
        }
    }
}
