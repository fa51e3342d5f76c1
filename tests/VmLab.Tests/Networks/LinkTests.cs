using VmLab.Core;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests.Networks;

/// <summary>Networks in a lab, between machines that do as told.</summary>
public sealed class LinkTests
{
    static readonly VmRef s_carol = new("carol");

    [Test]
    public void A_frame_arrives_at_its_own_time_not_at_a_quantums_end()
    {
        TimeSpan arrived = default;
        Fleet fleet = Pair(
            alice => alice.At(123_456, () => alice.Sends(TestFrames.From(1, TestFrames.Card(2)))),
            bob => bob.OnFrame = _ => arrived = TimeSpan.FromTicks((long)bob.Now / 100));

        Run(fleet, lab => lab.RunFor(5.Milliseconds));

        Assert.That(arrived, Is.EqualTo(TimeSpan.FromTicks((123_456 + 672 + 1_000_000) / 100)));
    }

    [Test]
    public void Machines_answer_each_other_at_the_pace_of_the_link()
    {
        int frames = 0;
        void Answer(ScriptedMachine machine, int number) => machine.OnFrame = _ =>
        {
            Interlocked.Increment(ref frames);
            machine.Sends(TestFrames.From(number, TestFrames.Card(3 - number)));
        };

        Run(Pair(
            alice =>
            {
                Answer(alice, 1);
                alice.At(0, () => alice.Sends(TestFrames.From(1, TestFrames.Card(2))));
            },
            bob => Answer(bob, 2)), lab => lab.RunFor(1.Seconds));

        Assert.That(frames, Is.EqualTo(1_000_000_000 / (1_000_000 + 672)));
    }

    [Test]
    public void What_is_sent_to_a_machine_without_power_is_dropped()
    {
        int frames = 0;
        Fleet fleet = Pair(
            alice =>
            {
                for (ulong at = 1000; at < 40_000_000; at += 1_000_000) alice.At(at, () => alice.Sends(TestFrames.From(1, TestFrames.Card(2))));
            },
            bob => bob.OnFrame = _ => frames++);

        Run(fleet, async lab =>
        {
            lab[Bob].PowerOff();
            await lab.RunFor(20.Milliseconds);
            lab[Bob].PowerOn();
            await lab.RunFor(30.Milliseconds);

            Assert.That(lab.Links[0].Counters, Is.EqualTo(new LinkCounters(Frames: (ulong)frames, Bytes: (ulong)frames * 60, Dropped: 20, Lost: 0)));
        });
    }

    [Test]
    public void What_is_sent_to_a_paused_machine_waits_for_it()
    {
        List<ulong> arrived = [];
        Fleet fleet = Pair(
            alice => alice.At(1.Milliseconds, () => alice.Sends(TestFrames.From(1, TestFrames.Card(2)))),
            bob => bob.OnFrame = _ => arrived.Add(bob.Now));

        Run(fleet, async lab =>
        {
            lab[Bob].Pause();
            await lab.RunFor(20.Milliseconds);
            lab[Bob].Continue();
            await lab.RunFor(1.Milliseconds);
        });

        Assert.That(arrived, Is.EqualTo(new[] { 0UL }));
    }

    [Test]
    public void Three_machines_meet_the_same_frames_on_any_number_of_threads()
    {
        string[] runs = [.. new[] { 1, 2, 4 }.Select(threads => Record(new LabOptions { Threads = threads, ShuffleSeed = (ulong)threads }))];

        Assert.That(runs[0], Does.Contain("carol 40000000"));
        Assert.That(runs[1], Is.EqualTo(runs[0]));
        Assert.That(runs[2], Is.EqualTo(runs[0]));
    }

    [TestCase("lan", "is there already")]
    [TestCase("other", "names dave, which is no machine")]
    public void A_network_that_cannot_be_is_refused(string name, string reason) => Assert.That(
        () => Pair(_ => { }, _ => { }).Lan(name, out _, [Alice, new VmRef("dave")]),
        Throws.TypeOf<LabException>().With.Message.Contains(reason));

    [Test]
    public void A_machine_has_one_place_on_a_network() => Assert.That(
        () => Pair(_ => { }, _ => { }).Wire("wire", out _, Alice, Alice), Throws.TypeOf<LabException>().With.Message.Contains("twice"));

    static Fleet Pair(Action<ScriptedMachine> alice, Action<ScriptedMachine> bob) =>
        Two(alice, bob).Lan("lan", out _, [Alice, Bob], link => link.Latency(1.Milliseconds));

    /// <summary>Everybody talks to everybody, with jitter and a queue that overflows; and each machine's history.</summary>
    static string Record(LabOptions options)
    {
        static void Talk(ScriptedMachine machine, int number)
        {
            void Send()
            {
                ulong draw = machine.Random.Next();
                MacAddress to = TestFrames.Card(1 + (int)(draw % 4));
                machine.Sends(TestFrames.From(number, to, 60 + (int)(draw >> 8 & 0x3FF), (byte)draw));
                machine.At(machine.Now + 1 + (draw >> 32) % 20_000, Send);
            }
            machine.At(0, Send);
        }

        string record = "";
        Fleet fleet = Two(machine => Talk(machine, 1), machine => Talk(machine, 2))
            .Vm("carol", vm => vm.Boot(new ScriptedGuest(machine => Talk(machine, 3))).Memory(1.MiB))
            .Lan("lan", out LinkRef lan, [Alice, Bob, s_carol],
                link => link.Latency(200.Microseconds).Jitter(300.Microseconds).Rate(300.Mbps).Queue(8));
        Run(fleet, async lab =>
        {
            await lab.RunFor(40.Milliseconds);
            record = string.Join('\n', lab.Machines.Select(vm => $"{vm.Name} {vm.Now.TotalNanoseconds} {vm.StateHash:x16}"))
                + $"\n{lab[lan].Counters} {lab[lan].StateHash:x16} {lab.StateHash():x16}";
            Assert.That(lab[lan].Counters.Dropped, Is.Positive);
        }, options);
        return record;
    }
}
