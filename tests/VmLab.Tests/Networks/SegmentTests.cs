using CsCheck;
using VmLab.Core;
using VmLab.Networks;

namespace VmLab.Tests.Networks;

/// <summary>The network itself, without a lab: who gets which frame, and when.</summary>
public sealed class SegmentTests
{
    const ulong Millisecond = 1_000_000;

    static readonly VmRef s_a = new("a"), s_b = new("b"), s_c = new("c");

    [Test]
    public void A_frame_takes_its_time_on_the_cable_and_the_latency()
    {
        Segment lan = Lan(link => link.Latency(1.Milliseconds).Rate(1.Gbps));

        Send(lan, from: 1, to: 2, time: 500, length: 1000);
        Send(lan, from: 1, to: 2, time: 500, length: 20);

        Assert.That(Arrivals(lan, 2), Is.EqualTo(new[] { 500 + 8192 + Millisecond, 500 + 8192 + 672 + Millisecond }));
    }

    [Test]
    public void A_switch_learns_where_a_machine_is()
    {
        Segment lan = Lan();

        Send(lan, from: 1, to: 2, time: 0);
        Send(lan, from: 2, to: 1, time: 1);
        Send(lan, from: 1, to: 2, time: 2);

        Assert.That(new[] { 1, 2, 3 }.Select(port => Arrivals(lan, port).Length), Is.EqualTo(new[] { 1, 2, 1 }));
    }

    [Test]
    public void A_machine_that_is_silent_for_long_is_forgotten()
    {
        Segment lan = Lan();

        Send(lan, from: 2, to: 1, time: 0);
        Send(lan, from: 1, to: 2, time: Segment.Ageing + 1);

        Assert.That(Arrivals(lan, 3), Has.Length.EqualTo(2));
    }

    [Test]
    public void The_table_has_an_end_and_frames_go_on()
    {
        Segment lan = Lan();
        for (int i = 0; i < 5000; i++)
            lan.Send(0, (ulong)i, TestFrames.Values(TestFrames.From(0x100 + i, TestFrames.Server)));

        Send(lan, from: 2, to: 1, time: 5000);

        Assert.That(lan.Save().Table, Has.Count.EqualTo(Segment.MostLearned));
        Assert.That(Arrivals(lan, 1), Has.Length.EqualTo(1));
    }

    [Test]
    public void What_finds_a_full_queue_is_dropped_and_counted()
    {
        Segment lan = Lan(link => link.Rate(1.Mbps).Queue(3));

        for (int i = 0; i < 5; i++) Send(lan, from: 1, to: 2, time: 0);
        Send(lan, from: 1, to: 2, time: 672_000);       // one has left by now

        Assert.That(Arrivals(lan, 2), Has.Length.EqualTo(4));
        Assert.That(lan.Counters, Is.EqualTo(new LinkCounters(Frames: 8, Bytes: 480, Dropped: 4, Lost: 0)));
    }

    [Test]
    public void A_wire_hands_everything_to_its_other_end()
    {
        Fleet fleet = Machines().Wire("wire", out _, s_a, s_b);
        Segment wire = Of(fleet);

        Send(wire, from: 1, to: 3, time: 0);
        Send(wire, from: 2, to: 2, time: 0);

        Assert.That((Arrivals(wire, 1).Length, Arrivals(wire, 2).Length), Is.EqualTo((1, 1)));
    }

    [Test]
    public void Nothing_overtakes_nothing_comes_early_and_nothing_vanishes() => s_traffic.Sample(traffic =>
    {
        Segment lan = Lan(link => link.Latency(200.Microseconds).Jitter(1.Milliseconds).Rate(100.Mbps).Queue(20));
        ulong now = 0;
        byte number = 0;
        foreach (var (wait, from, to, length) in traffic)
        {
            byte[] frame = TestFrames.From(from, TestFrames.Card(to), length, ++number);
            lan.Send(from - 1, now += (ulong)wait, TestFrames.Values(frame));
        }

        PortQueue.InFlight[][] arrived = [.. lan.Save().Ports.Select(port => port.Frames.ToArray())];
        ulong latest = arrived.SelectMany(frames => frames).Select(frame => frame.ArrivesAt).DefaultIfEmpty().Max();
        Assert.That(arrived.Sum(frames => frames.Length), Is.EqualTo(lan.Counters.Frames));
        Assert.That(arrived, Has.All.Matches<PortQueue.InFlight[]>(frames =>
            frames!.Zip(frames!.Skip(1)).All(pair => pair.First.Sequence < pair.Second.Sequence)));
        Assert.That(latest, Is.LessThanOrEqualTo(now + 20 * 121_000 + 1_200_000));
        Assert.That(arrived.SelectMany(frames => frames).Select(frame => frame.ArrivesAt), Has.All.GreaterThanOrEqualTo(206_000UL));
    }, iter: 300, threads: 1);

    [Test]
    public void Restored_it_behaves_as_saved() => Gen.Select(s_traffic, s_traffic).Sample((before, after) =>
    {
        Segment lan = Lan(link => link.Jitter(1.Milliseconds).Queue(20)), restored = Lan(link => link.Jitter(1.Milliseconds).Queue(20));
        ulong now = Run(lan, before, 0);

        restored.Restore(lan.Save());
        Run(lan, after, now);
        Run(restored, after, now);

        Assert.That(Hash(restored), Is.EqualTo(Hash(lan)));
    }, iter: 200, threads: 1);

    [TestCase(5)]
    [TestCase(11_000_000)]
    public void A_latency_that_gives_machines_no_time_or_no_end_is_refused(int microseconds) => Assert.That(
        () => Lan(link => link.Latency(microseconds.Microseconds)), Throws.TypeOf<ArgumentOutOfRangeException>());

    static readonly Gen<(int Wait, int From, int To, int Length)[]> s_traffic =
        Gen.Select(Gen.Int[0, 200_000], Gen.Int[1, 3], Gen.Int[1, 4], Gen.Int[14, 1514]).Array[0, 60];

    static ulong Run(Segment lan, (int Wait, int From, int To, int Length)[] traffic, ulong now)
    {
        foreach (var (wait, from, to, length) in traffic) Send(lan, from, to, now += (ulong)wait, length);
        return now;
    }

    static ulong Hash(Segment lan) => new StateHash().AddRecord(lan.Save()).Value;

    static Fleet Machines() => Fleet.Define("net").Vm("a", vm => vm).Vm("b", vm => vm).Vm("c", vm => vm);

    static Segment Lan(Func<LinkSpec, LinkSpec>? define = null) => Of(Machines().Lan("lan", out _, [s_a, s_b, s_c], define));

    static Segment Of(Fleet fleet) => new(
        fleet.Links[0], new NetworkHost(fleet.Links[0], new FleetNames(fleet)), Rng.FromSeed(1), _ => { });

    static void Send(Segment lan, int from, int to, ulong time, int length = 60) =>
        lan.Send(from - 1, time, TestFrames.Values(TestFrames.From(from, TestFrames.Card(to), length)));

    static ulong[] Arrivals(Segment lan, int port) => [.. lan.Save().Ports[port - 1].Frames.Select(frame => frame.ArrivesAt)];
}
