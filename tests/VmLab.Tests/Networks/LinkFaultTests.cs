using VmLab.Faults;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests.Networks;

/// <summary>Faults of a network, between machines that do as told: alice sends a numbered frame every millisecond.</summary>
public sealed class LinkFaultTests
{
    static readonly LinkRef s_lan = new("lan");

    [Test]
    public void Lost_frames_are_counted_and_the_rest_come() => OnPair(Fault.Link(s_lan).Loss(0.25), (lab, heard) =>
    {
        Assert.That(heard, Has.Count.InRange(50, 98));
        Assert.That(lab[s_lan].Counters, Is.EqualTo(new LinkCounters((ulong)heard.Count, (ulong)heard.Count * 60, 0, 100 - (ulong)heard.Count)));
    });

    [Test]
    public void Delayed_frames_come_later_by_that() => OnPair(Fault.Link(s_lan).Delay(3.Milliseconds), (_, heard) =>
        Assert.That(heard[0].Time, Is.EqualTo(500_000 + 672 + 4_000_000)));

    [Test]
    public void Duplicates_come_twice() => OnPair(Fault.Link(s_lan).Duplicate(1), (_, heard) =>
        Assert.That(heard.Select(frame => frame.Number).Take(4), Is.EqualTo(new[] { 0, 0, 1, 1 })));

    [Test]
    public void A_bit_flips_and_no_more() => OnPair(Fault.Link(s_lan).Corrupt(1), (_, heard) =>
        Assert.That(heard.Select(frame => frame.Flipped), Has.All.EqualTo(1)));

    [Test]
    public void A_frame_that_is_held_back_is_overtaken() => OnPair(Fault.Link(s_lan).Reorder(0.5, by: 5.Milliseconds), (_, heard) =>
    {
        Assert.That(heard.Select(frame => frame.Number), Is.Not.Ordered.And.Unique);
        Assert.That(heard, Has.Count.EqualTo(100));
    });

    [Test]
    public void A_slow_cable_fills_its_queue() => OnPair(Fault.Link(s_lan).Rate(100.Kbps), (lab, heard) =>
        Assert.That(heard.Zip(heard.Skip(1)).Select(pair => pair.Second.Time - pair.First.Time), Has.All.EqualTo(6_720_000)));

    [Test]
    public void A_partition_lasts_as_long_as_it_is_told() =>
        OnPair(Fault.Link(s_lan).Partition([Alice], [Bob]).At(10.Milliseconds).For(20.Milliseconds), (lab, heard) =>
        {
            Assert.That(heard.Select(frame => frame.Number), Is.EqualTo(Enumerable.Range(0, 100).Where(i => i is < 10 or >= 30)));
            Assert.That(lab.Timeline.Select(entry => entry.ToString()), Is.SupersetOf(new[]
            {
                "   0.010000 s  lab       lan: fault: alice is parted from bob",
                "   0.030000 s  lab       lan: fault: over: alice is parted from bob; it met 20 frames",
            }));
        });

    [Test]
    public void One_way_lets_frames_forth_and_none_back()
    {
        OnPair(Fault.Link(s_lan).OneWay([Alice], [Bob]), (_, heard) => Assert.That(heard, Has.Count.EqualTo(100)));
        OnPair(Fault.Link(s_lan).OneWay([Bob], [Alice]), (_, heard) => Assert.That(heard, Is.Empty));
    }

    [Test]
    public void Unplugged_machines_notice()
    {
        ScriptedMachine? machine = null;
        Fleet fleet = Two(alice => machine = alice, _ => { }).Lan("lan", out _, [Alice, Bob]);
        Run(fleet, async lab =>
        {
            lab.Inject(Fault.Link(s_lan).Down().At(5.Milliseconds).For(5.Milliseconds));
            bool[] seen = new bool[3];
            for (int i = 0; i < 3; i++)
            {
                await lab.RunFor(4.Milliseconds);
                seen[i] = machine!.IsLinkUp;
            }
            Assert.That(seen, Is.EqualTo(new[] { true, false, true }));
        });
    }

    [Test]
    public void The_very_frame_that_is_waited_for_is_struck() => OnPair(
        Fault.Link(s_lan).Loss(1).When(Trigger.Frame(s_lan, FrameMatch.Any.From(Alice).To(Bob).Containing("\u0007\u0007\u0007")))
            .For(1.Microseconds),
        (_, heard) => Assert.That(heard.Select(frame => frame.Number), Is.EqualTo(Enumerable.Range(0, 100).Except([7]))));

    [Test]
    public void A_frame_can_wait_to_be_seen_again_and_again() => OnPair(
        Fault.Link(s_lan).Loss(1).When(Trigger.Frame(s_lan, FrameMatch.Any).Nth(50)),
        (lab, heard) => Assert.That((heard.Count, lab.Unfired.Count), Is.EqualTo((49, 0))));

    [Test]
    public void What_has_not_struck_is_named() => OnPair(
        Fault.Link(s_lan).Down().When(Trigger.Frame(s_lan, FrameMatch.Tcp(80))), (lab, heard) =>
        Assert.That((heard.Count, lab.Unfired.Single()), Is.EqualTo((100, Fault.Link(s_lan).Down().When(Trigger.Frame(s_lan, FrameMatch.Tcp(80)))))));

    [Test]
    public void Again_and_again_and_perhaps() => OnPair(
        Fault.Link(s_lan).Loss(1).Every(10.Milliseconds).For(1.Milliseconds).WithProbability(0.5), (_, heard) =>
        Assert.That(heard, Has.Count.InRange(91, 99)));

    [TestCase("dave")]
    public void A_machine_that_is_not_there_cannot_be_parted(string name) => OnPair(Fault.Link(s_lan).Loss(0), (lab, _) => Assert.That(
        () => lab.Inject(Fault.Link(s_lan).Partition([Alice], [new VmRef(name)])), Throws.TypeOf<LabException>().With.Message.Contains(name)));

    [Test]
    public void A_network_that_is_not_there_cannot_be_struck() => OnPair(Fault.Link(s_lan).Loss(0), (lab, _) => Assert.That(
        () => lab.Inject(Fault.Link(new LinkRef("wan")).Down()), Throws.TypeOf<LabException>().With.Message.Contains("it has lan")));

    [Test]
    public void A_plan_is_written_and_read()
    {
        LinkFaults lan = Fault.Link(s_lan);
        var plan = new FaultPlan(
        [
            lan.Loss(0.1), lan.Delay(2.Milliseconds), lan.Duplicate(0.2), lan.Corrupt(0.3), lan.Reorder(0.4), lan.Rate(1.Mbps),
            lan.Partition([Alice], [Bob]).For(1.Seconds), lan.OneWay([Bob], [Alice]).At(2.Seconds),
            lan.Down().When(Trigger.Frame(s_lan, FrameMatch.Udp(53).From(Alice).Containing("bob")).Nth(2)),
        ]);

        Assert.That(FaultPlan.FromJson(plan.ToJson()), Is.EqualTo(plan));
    }

    [Test]
    public void A_capture_has_every_frame_at_its_time()
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "pair.pcap");

        OnPair(Fault.Link(s_lan).Loss(1), (_, _) => { }, lab => lab[s_lan].Capture(file));

        byte[] bytes = File.ReadAllBytes(file);
        Assert.That(bytes, Has.Length.EqualTo(24 + 100 * (16 + 60)));
        Assert.That(bytes[..4], Is.EqualTo((byte[])[0x4D, 0x3C, 0xB2, 0xA1]));
        uint[] second = [.. Enumerable.Range(0, 4).Select(i => BitConverter.ToUInt32(bytes, 24 + 76 + 4 * i))];
        Assert.That(second, Is.EqualTo(new uint[] { 0, 1_500_000, 60, 60 }));
        Assert.That(bytes[^60..], Is.EqualTo(Numbered(99)));
    }

    [Test]
    public void A_capture_that_cannot_be_written_is_refused() => OnPair(Fault.Link(s_lan).Loss(0), (lab, _) => Assert.That(
        () => lab[s_lan].Capture("/nowhere/at.all"), Throws.TypeOf<LabException>().With.Message.Contains("/nowhere/at.all")));

    /// <summary>A frame of alice to bob.</summary>
    static byte[] Numbered(int number) => TestFrames.From(1, TestFrames.Card(2), value: (byte)number);

    static void OnPair(
        Fault fault, Action<Lab, IReadOnlyList<(ulong Time, int Number, int Flipped)>> check, Action<Lab>? prepare = null)
    {
        List<(ulong, int, int)> heard = [];
        Fleet fleet = Two(
            alice =>
            {
                for (int i = 0; i < 100; i++)
                {
                    byte[] frame = Numbered(i);
                    alice.At(500_000 + (ulong)i * 1_000_000, () => alice.Sends(frame));
                }
            },
            bob => bob.OnFrame = frame => heard.Add((bob.Now, frame[50], Difference(frame))))
            .Lan("lan", out _, [Alice, Bob], link => link.Latency(1.Milliseconds));
        Run(fleet, async lab =>
        {
            lab.Inject(fault);
            prepare?.Invoke(lab);
            await lab.RunFor(1.Seconds);
            check(lab, heard);
        });
    }

    /// <summary>How many bits are not as alice sent them.</summary>
    static int Difference(byte[] frame)
    {
        byte[] sent = Numbered(frame.Skip(14).GroupBy(value => value).MaxBy(group => group.Count())!.Key);
        return frame.Zip(sent).Sum(pair => int.PopCount(pair.First ^ pair.Second));
    }
}
